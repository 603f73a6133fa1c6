// BackOff: the one rule for "when again": retry-initial, doubled per failed attempt, at most
// retry-maximum. Threads: pure function.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace bsmtp::mda {

// The wait after the `attempts`-th failure (1 for the first).
inline std::chrono::seconds back_off(std::uint64_t attempts, std::chrono::seconds initial,
                                     std::chrono::seconds maximum) {
  std::chrono::seconds wait = initial;
  for (std::uint64_t i = 1; i < attempts && wait < maximum; ++i) {
    wait *= 2;
  }
  return std::min(wait, maximum);
}

}  // namespace bsmtp::mda
