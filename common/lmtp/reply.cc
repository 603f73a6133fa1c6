// reply_line(): which three digits go with an enhanced status code.
#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/lmtp/server.h"

namespace bsmtp::lmtp {
namespace {

constexpr std::size_t kMaxText = 440;  // a reply line has 512 octets (RFC 5321 4.5.3.1.5)

struct Row {
  std::string_view prefix;
  std::string_view code;
};

// First match counts. RFC 5321 4.2.2, 4.2.3 and RFC 1870, RFC 3463, RFC 5248.
constexpr std::array kRows{
    Row{"4.3.1", "452"}, Row{"4.5.3", "452"}, Row{"4.1.", "450"},  Row{"4.2.", "450"},
    Row{"4.", "451"},    Row{"5.1.3", "553"}, Row{"5.1.7", "553"}, Row{"5.1.", "550"},
    Row{"5.2.", "550"},  Row{"5.7.", "550"},  Row{"5.3.4", "552"}, Row{"5.5.1", "503"},
    Row{"5.5.2", "500"}, Row{"5.5.", "501"},  Row{"5.", "554"},
};

}  // namespace

std::string reply_line(const Status& status) {
  std::string text = printable(status.to_string(), kMaxText);
  // UTF-8 in a reply needs a client that asked for it (RFC 6531 3.7.4).
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  const auto* const row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) {
    return status.code().starts_with(r.prefix);
  });
  const std::string_view code = row != kRows.end() ? row->code : "250";
  return str_cat({code, " ", text});
}

}  // namespace bsmtp::lmtp
