#include "common/base/units.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "common/base/clock.h"
#include "common/base/text.h"

namespace bsmtp {
namespace {

struct Unit {
  char letter;
  std::uint64_t factor;
};

constexpr std::array<Unit, 3> kSizes{{{'G', 1ULL << 30U}, {'M', 1ULL << 20U}, {'K', 1ULL << 10U}}};
constexpr std::array<Unit, 5> kTimes{
    {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};

std::tm utc(std::chrono::system_clock::time_point when) {
  const std::time_t t = std::chrono::system_clock::to_time_t(when);
  std::tm tm{};
  gmtime_r(&t, &tm);
  return tm;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  std::string_view digits = text;
  std::uint64_t factor = 1;
  for (const auto& u : kSizes) {
    if (!digits.empty() && ascii_upper(digits.back()) == u.letter) {
      factor = u.factor;
      digits.remove_suffix(1);
      break;
    }
  }
  const auto n = parse_u64(digits);
  if (!n || *n > UINT64_MAX / 2 / factor) {
    return Status::temporary("4.3.5", str_cat({"'", printable(text),
                                               "' is not a size: write a number with an optional "
                                               "suffix K, M or G, for example 7M"}));
  }
  return *n * factor;
}

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t kTenYears = 10ULL * 366 * 86400;
  std::string_view digits = text;
  std::uint64_t factor = 1;
  for (const auto& u : kTimes) {
    if (!digits.empty() && ascii_lower(digits.back()) == u.letter) {
      factor = u.factor;
      digits.remove_suffix(1);
      break;
    }
  }
  const auto n = parse_u64(digits);
  if (!n || *n > kTenYears / factor) {
    return Status::temporary(
        "4.3.5", str_cat({"'", printable(text),
                          "' is not a duration of at most ten years: write a number with a suffix "
                          "s, m, h, d or w, for example 60s"}));
  }
  return std::chrono::seconds(static_cast<std::int64_t>(*n * factor));
}

std::string format_size(std::uint64_t octets) {
  for (const auto& u : kSizes) {
    if (octets != 0 && octets % u.factor == 0) {
      return std::to_string(octets / u.factor) + u.letter;
    }
  }
  return std::to_string(octets);
}

std::string format_duration(std::chrono::seconds duration) {
  const auto n = static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count());
  for (const auto& u : kTimes) {
    if (n != 0 && u.letter != 'w' && n % u.factor == 0) {
      return std::to_string(n / u.factor) + u.letter;
    }
  }
  return "0s";
}

std::string format_rfc5322(std::chrono::system_clock::time_point when) {
  static constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed",
                                                    "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::tm tm = utc(when);
  std::array<char, 64> buf{};
  std::snprintf(buf.data(), buf.size(), "%s, %02d %s %04d %02d:%02d:%02d +0000",
                kDays.at(static_cast<std::size_t>(tm.tm_wday)), tm.tm_mday,
                kMonths.at(static_cast<std::size_t>(tm.tm_mon)), tm.tm_year + 1900, tm.tm_hour,
                tm.tm_min, tm.tm_sec);
  return buf.data();
}

std::string format_iso(std::chrono::system_clock::time_point when) {
  const std::tm tm = utc(when);
  std::array<char, 64> buf{};
  std::snprintf(buf.data(), buf.size(), "%04d%02d%02dT%02d%02d%02dZ", tm.tm_year + 1900,
                tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  return buf.data();
}

Result<std::chrono::system_clock::time_point> parse_iso(std::string_view text) {
  const auto bad = [&] {
    return Status::permanent("5.6.0", str_cat({"'", printable(text, 40),
                                               "' is not a time of the form 20261122T011000Z"}));
  };
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return bad();
  const auto field = [&](std::size_t pos, std::size_t n) {
    const auto v = parse_u64(text.substr(pos, n));
    return v ? static_cast<int>(*v) : -1;
  };
  const int year = field(0, 4);
  const int month = field(4, 2);
  const int day = field(6, 2);
  const int hour = field(9, 2);
  const int minute = field(11, 2);
  const int second = field(13, 2);
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (year < 1970 || year > 2200 || month < 1 || day < 1 || !date.ok() || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || second < 0 || second > 60) {
    return bad();
  }
  return TimePoint(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + std::chrono::seconds(second);
}

}  // namespace bsmtp
