#include "common/parcel/text_guard.h"

#include <algorithm>
#include <cstring>

namespace bsmtp::parcel {
namespace {

Status bad(const char* what) {
  return Status::permanent("5.6.0", std::string("the signed part ") + what);
}

}  // namespace

// Line by line, because memchr for LF runs at memory speed and lines are short anyway.
Status TextGuard::check(std::string_view data) {
  if (std::memchr(data.data(), '\0', data.size()) != nullptr) {
    return bad("holds NUL octets");
  }
  while (!data.empty()) {
    const std::size_t lf = data.find('\n');
    const std::string_view piece = data.substr(0, lf);
    if (cr_ && (lf != 0)) {
      return bad("holds a CR that ends no line");
    }
    const std::size_t cr = piece.find('\r');
    if (cr != std::string_view::npos && cr + 1 != piece.size()) {
      return bad("holds a CR that ends no line");
    }
    const bool ends_in_cr = cr != std::string_view::npos || (cr_ && piece.empty());
    column_ += piece.size() - (cr != std::string_view::npos ? 1 : 0);
    if (column_ > kMaxSignedLine) {
      return bad("holds a line of more than 998 octets");
    }
    if (lf == std::string_view::npos) {
      cr_ = ends_in_cr;
      return Status::ok();
    }
    if (!ends_in_cr) {
      return bad("holds a bare LF");
    }
    cr_ = false;
    column_ = 0;
    data.remove_prefix(lf + 1);
  }
  return Status::ok();
}

Result<std::size_t> TextGuard::read(std::span<char> out) {
  for (;;) {
    TRY_ASSIGN(std::size_t got,
               from_.read(std::span(block_).first(std::min(out.size(), block_.size()))));
    if (got == 0) {
      if (cr_) {
        return bad("ends in a bare CR");
      }
      return got;
    }
    TRY(check({block_.data(), got}));
    char* end = std::copy_n(block_.data(), got, out.data());
    if (form_ == Form::kLf) {
      end = std::remove(out.data(), end, '\r');  // every CR is followed by LF
    }
    const auto size = static_cast<std::size_t>(end - out.data());
    if (size > 0) {
      digest_.update({out.data(), size});
      return size;
    }
  }
}

}  // namespace bsmtp::parcel
