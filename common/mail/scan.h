// Scanning helpers that the line filters share; internal to common/mail.
// Threads: pure functions.
#pragma once

#include <array>
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

// What a block holds, found in one pass. The inner loop has a fixed length so that compilers
// make vector code of it at -O2.
struct BlockFacts {
  std::size_t crs = 0;
  bool nul = false;
  bool high = false;  // an octet over 127
};

inline BlockFacts inspect(std::string_view data) {
  constexpr std::size_t kRow = 64;
  std::array<std::uint8_t, kRow> row{};
  BlockFacts facts;
  while (!data.empty()) {
    const std::size_t n = data.size() < kRow ? data.size() : kRow;
    if (n < kRow) {
      row.fill('x');
    }
    std::memcpy(row.data(), data.data(), n);
    data.remove_prefix(n);
    std::uint8_t crs = 0;
    std::uint8_t nul = 0;
    std::uint8_t high = 0;
    for (std::size_t i = 0; i < kRow; ++i) {
      crs = static_cast<std::uint8_t>(crs + (row[i] == '\r' ? 1 : 0));
      nul = static_cast<std::uint8_t>(nul | (row[i] == 0 ? 1 : 0));
      high = static_cast<std::uint8_t>(high | row[i]);
    }
    facts.crs += crs;
    facts.nul = facts.nul || nul != 0;
    facts.high = facts.high || (high & 0x80U) != 0;
  }
  return facts;
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
