#include "common/base/status.h"

#include <cerrno>
#include <system_error>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp {

Status Status::temporary(std::string_view code, std::string text) {
  BSMTP_CHECK(code.starts_with('4'));
  Status s;
  s.class_ = StatusClass::kTemporary;
  s.code_ = code;
  s.text_ = std::move(text);
  return s;
}

Status Status::permanent(std::string_view code, std::string text) {
  BSMTP_CHECK(code.starts_with('5'));
  Status s;
  s.class_ = StatusClass::kPermanent;
  s.code_ = code;
  s.text_ = std::move(text);
  return s;
}

Status Status::from_errno(std::string_view what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  Status s = temporary(full ? "4.3.1" : "4.3.0",
                       str_cat({what, ": ", std::generic_category().message(error)}));
  s.errno_ = error;
  return s;
}

Status Status::with_context(std::string_view context) const {
  Status s = *this;
  if (!is_ok()) {
    s.text_ = str_cat({context, ": ", text_});
  }
  return s;
}

std::string Status::to_string() const {
  return is_ok() ? std::string("2.0.0 ok") : str_cat({code_, " ", printable(text_)});
}

}  // namespace bsmtp
