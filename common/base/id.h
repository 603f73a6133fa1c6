// Ids of items, parcels, notices and quarantined files: 12 hex digits of milliseconds since
// 1970 and 128 random bits as 32 hex digits. Sorting by name sorts by time; the alphabet is safe
// as a file name, in a header and in a log. File names of the spool come from these only.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp {

inline constexpr std::size_t kIdLength = 44;

// A new id; fails (temporary) when the kernel has no randomness to give.
Result<std::string> make_id(TimePoint now);
// True for exactly kIdLength lower-case hex digits.
bool is_id(std::string_view text);
// The time an id was made (at most the last one that a TimePoint can hold); nullopt when it is
// none.
std::optional<TimePoint> id_time(std::string_view id);
// `octets` random octets as lower-case hex (return-path tokens, MIME boundaries).
Result<std::string> random_hex(std::size_t octets);

}  // namespace bsmtp
