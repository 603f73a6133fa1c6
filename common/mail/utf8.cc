// See utf8.h.
#include "common/mail/utf8.h"

namespace bsmtp::mail {

std::size_t utf8_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char c = at(0);
  if (c < 0x80) return 1;
  std::size_t n = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF) {
    n = 2;
  } else if (c >= 0xE0 && c <= 0xEF) {
    n = 3;
    low = c == 0xE0 ? 0xA0 : low;
    high = c == 0xED ? 0x9F : high;  // no surrogates
  } else if (c >= 0xF0 && c <= 0xF4) {
    n = 4;
    low = c == 0xF0 ? 0x90 : low;
    high = c == 0xF4 ? 0x8F : high;
  }
  if (n == 0 || s.size() < n || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < n; ++i) {
    if ((at(i) & 0xC0U) != 0x80) return 0;
  }
  return n;
}

}  // namespace bsmtp::mail
