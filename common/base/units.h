// Sizes ("7M") and durations ("60s", "7d") as the configuration writes them, and RFC 5322 dates.
// Threads: pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp {

// Octets: a number with an optional suffix K, M or G (powers of 1024), case-insensitive.
Result<std::uint64_t> parse_size(std::string_view text);
// A number with a suffix s, m, h, d or w; a bare number is seconds. At most 10 years.
Result<std::chrono::seconds> parse_duration(std::string_view text);
std::string format_size(std::uint64_t octets);               // exact: "7M", "1000"
std::string format_duration(std::chrono::seconds duration);  // exact: "90s", "7d"
// RFC 5322 3.3 date-time in UTC: "Sun, 22 Nov 2026 01:10:00 +0000".
std::string format_rfc5322(std::chrono::system_clock::time_point when);
// ISO 8601 basic, UTC, seconds: "20261122T011000Z" (manifest t= and x=), and back.
std::string format_iso(std::chrono::system_clock::time_point when);
Result<std::chrono::system_clock::time_point> parse_iso(std::string_view text);

}  // namespace bsmtp
