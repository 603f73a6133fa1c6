// See batch_policy.h.
#include "mda/dispatch/batch_policy.h"

#include <algorithm>
#include <array>

#include "common/base/id.h"

namespace bsmtp::mda {

const char* close_reason_name(CloseReason reason) {
  constexpr std::array<const char*, 5> kNames = {"none", "max-messages", "max-bytes", "max-age",
                                                 "flush"};
  return kNames.at(static_cast<std::size_t>(reason));
}

BatchDecision decide_batch(const WaitingIndex& waiting, const BatchLimits& limits,
                           std::uint64_t unacked, bool flush, TimePoint now) {
  BatchDecision decision;
  if (waiting.count() == 0 || unacked >= limits.max_unacked) {
    return decision;
  }
  // Arrival in the future: a clock was set back. Such items count as just arrived.
  const TimePoint due = std::min(waiting.oldest().value_or(now), now) + limits.max_age;
  if (waiting.count() >= limits.max_messages) {
    decision.reason = CloseReason::kMessages;
  } else if (waiting.octets() >= limits.max_bytes) {
    decision.reason = CloseReason::kBytes;
  } else if (now >= due) {
    decision.reason = CloseReason::kAge;
  } else if (flush) {
    decision.reason = CloseReason::kFlush;
  } else {
    decision.next_due = due;
    return decision;
  }
  const TimePoint first = waiting.oldest().value_or(now);
  for (const auto& [id, octets] : waiting.items()) {
    const bool full = decision.items.size() >= limits.max_messages ||
                      id_time(id).value_or(first) > first + limits.max_spread;
    if (full || (!decision.items.empty() && decision.octets + octets > limits.max_bytes)) {
      break;
    }
    decision.items.push_back(id);
    decision.octets += octets;
  }
  return decision;
}

}  // namespace bsmtp::mda
