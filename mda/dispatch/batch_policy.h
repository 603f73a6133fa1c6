// The rule which waiting items form the next parcel, and when: pure. A batch closes when it has
// max_messages, when the next item would take it over max_bytes, when its oldest item has waited
// max_age, or when a flush is asked. Order of arrival is kept; an item larger than max_bytes
// gets a parcel of its own. An item that arrived more than max_spread after the first one waits
// for the next parcel: all in one share the deadline of the oldest. At most max_unacked parcels may
// be on their way: beyond that messages wait unbuilt, so that a dead link costs queue and not
// signed parcels that expire. Threads: pure function.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "mda/dispatch/waiting_index.h"

namespace bsmtp::mda {

struct BatchLimits {
  std::uint64_t max_messages = 100;
  std::uint64_t max_bytes = 7ULL << 20U;
  std::chrono::seconds max_age{60};
  std::uint64_t max_unacked = 20;
  std::chrono::seconds max_spread{86400};
};

// max_spread for a `parcel-lifetime`: little of it, and not less than a day.
constexpr std::chrono::seconds spread_for(std::chrono::seconds parcel_lifetime) {
  return std::max<std::chrono::seconds>(parcel_lifetime / 8, std::chrono::hours(24));
}

enum class CloseReason { kNone, kMessages, kBytes, kAge, kFlush };
const char* close_reason_name(CloseReason reason);  // "max-messages" …, as in the configuration

struct BatchDecision {
  CloseReason reason = CloseReason::kNone;
  std::vector<std::string> items;  // to build now; empty with kNone
  std::uint64_t octets = 0;
  std::optional<TimePoint> next_due;  // with kNone: when age alone will close a batch
};

// `unacked`: parcels in building and ready (and sent, for peers that send receipts).
BatchDecision decide_batch(const WaitingIndex& waiting, const BatchLimits& limits,
                           std::uint64_t unacked, bool flush, TimePoint now);

}  // namespace bsmtp::mda
