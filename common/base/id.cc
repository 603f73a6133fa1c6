#include "common/base/id.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp {

Result<std::string> random_hex(std::size_t octets) {
  std::array<char, 64> buf{};
  BSMTP_CHECK(octets <= buf.size());
  std::size_t have = 0;
  while (have < octets) {
    const ssize_t n = ::getrandom(buf.data() + have, octets - have, 0);
    if (n < 0 && errno != EINTR) {
      return Status::from_errno("getrandom", errno);
    }
    have += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  return to_hex(std::string_view(buf.data(), octets));
}

Result<std::string> make_id(TimePoint now) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  std::array<char, 32> head{};
  std::snprintf(head.data(), head.size(), "%012llx",
                static_cast<unsigned long long>(ms) & 0xFFFFFFFFFFFFULL);
  TRY_ASSIGN(const std::string tail, random_hex(16));
  return head.data() + tail;
}

bool is_id(std::string_view text) {
  return text.size() == kIdLength && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::optional<TimePoint> id_time(std::string_view id) {
  if (!is_id(id)) return std::nullopt;
  std::uint64_t ms = 0;
  std::from_chars(id.data(), id.data() + 12, ms, 16);
  // A parcel's id is its sender's invention; twelve digits can say more than a TimePoint holds.
  constexpr auto kLast =
      std::chrono::duration_cast<std::chrono::milliseconds>(TimePoint::max().time_since_epoch());
  const std::chrono::milliseconds said(static_cast<std::int64_t>(ms));
  return TimePoint(std::min(said, kLast));
}

}  // namespace bsmtp
