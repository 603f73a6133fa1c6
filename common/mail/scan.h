// Scanning helpers that the line filters share; internal to common/mail.
// Threads: pure functions.
#pragma once

#include <algorithm>
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

// What a block holds. Passes over a step in the first-level cache: glibc's memchr runs at memory
// speed, and nearly all blocks of LF text hold neither NUL nor CR.
struct BlockFacts {
  std::size_t crs = 0;
  bool nul = false;
  bool high = false;  // an octet over 127
};

// Whether any octet is over 127; eight words at a time, which compilers make vector code of.
inline bool has_high(std::string_view data) {
  constexpr std::size_t kRow = 8;
  std::array<std::uint64_t, kRow> sum{};
  std::array<std::uint64_t, kRow> row{};
  for (; data.size() >= sizeof row; data.remove_prefix(sizeof row)) {
    std::memcpy(row.data(), data.data(), sizeof row);
    for (std::size_t i = 0; i < kRow; ++i) {
      sum[i] |= row[i];
    }
  }
  row.fill(0);
  std::memcpy(row.data(), data.data(), data.size());
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < kRow; ++i) {
    all |= sum[i] | row[i];
  }
  return (all & 0x8080808080808080U) != 0;
}

inline BlockFacts inspect(std::string_view data) {
  const char* const end = data.data() + data.size();
  BlockFacts facts;
  facts.nul = find(data.data(), end, '\0') != nullptr;
  facts.high = has_high(data);
  if (const char* cr = find(data.data(), end, '\r')) {
    facts.crs = static_cast<std::size_t>(std::count(cr, end, '\r'));
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
