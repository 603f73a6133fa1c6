// Scanning helpers that the line filters share; internal to common/mail.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bsmtp::mail::scan {

// Small enough that several passes over a step stay in the first-level cache.
inline constexpr std::size_t kStep = 16384;

inline const char* find(const char* p, const char* end, char c) {
  return static_cast<const char*>(std::memchr(p, c, static_cast<std::size_t>(end - p)));
}

inline bool has_8bit(std::string_view data) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080U;
  std::uint64_t seen = 0;
  const char* p = data.data();
  std::size_t n = data.size();
  for (; n >= 32; p += 32, n -= 32) {
    std::uint64_t w[4];
    std::memcpy(w, p, sizeof w);
    seen |= w[0] | w[1] | w[2] | w[3];
  }
  for (; n > 0; ++p, --n) {
    seen |= static_cast<unsigned char>(*p);
  }
  return (seen & kHighBits) != 0;
}

inline std::string refusal(std::string_view what) {
  return "the message has " + std::string(what) +
         ", which mail cannot carry (RFC 5321 2.3.8); the program that wrote it must be repaired";
}

inline constexpr std::string_view kNul = "a NUL octet";
inline constexpr std::string_view kBareCr = "a CR that is not followed by LF";
inline constexpr std::string_view kBareLf = "an LF that does not follow CR";
inline constexpr std::string_view kMixed = "a CR although its lines end in LF alone";

}  // namespace bsmtp::mail::scan
