// What to do with a parcel that the host MTA has taken and whose receipt has not come: wait, send
// it again, ask a last time, give it up as unknown, or hold it. Pure functions of the parcel's
// state, the configured times and the clock; docs/timers.md has the times and their reasons.
// Order of events: `handed`, up to kMaxResends resends (resend-after, doubled each time), the last
// question when it expires, unknown after receipt-grace. A bounce proves that this copy is under
// way no more: it brings the next one forward, with a back-off of its own, and is no verdict.
// Threads: pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "mda/dispatch/parcel_state.h"

namespace bsmtp::mda {

// Resends because of silence, before the last question. Copies that bounced are not counted.
inline constexpr std::uint64_t kMaxResends = 3;

struct ResendTimes {
  std::chrono::seconds resend_after{6 * 3600};
  std::chrono::seconds receipt_grace{86400};
  std::chrono::seconds bounce_initial{3600};  // the wait after a first bounce, doubled each time
  std::chrono::seconds bounce_maximum{86400};
  // From a bounce that calls a single message refused to its failure: a receipt beats any bounce,
  // which anybody can write, and one that is under way has come by then.
  std::chrono::seconds refused{3600};
};

enum class SentStep {
  kWait,     // until `next`
  kResend,   // silence, or a bounce whose back-off is over
  kAsk,      // it has expired: sent once more, so that the peer says what became of it
  kUnknown,  // no answer: the senders are told
  kHold,     // no answer, and never one from this peer: a human decides
  kRefused,  // a bounce said so, and no receipt came
};
std::string_view sent_step_name(SentStep step);

struct SentDecision {
  SentStep step = SentStep::kWait;
  TimePoint next{};  // kWait: when to ask again; TimePoint::max() when only an event can change it
};

// `receipts_seen`: this peer has sent a receipt before.
SentDecision decide_sent(const ParcelState& state, const ResendTimes& times, bool receipts_seen,
                         TimePoint now);

// After this instant no answer is waited for any more.
TimePoint unknown_from(const ParcelState& state, const ResendTimes& times);

// When the copy that just bounced is followed by the next; `state.bounces` counts this one too.
TimePoint after_bounce(const ParcelState& state, const ResendTimes& times, TimePoint now);

// What a refusal (at hand-over or in a bounce) asks for.
enum class Refusal {
  kOther,    // the address, the relay, the way: not the content
  kTooBig,   // smaller parcels may pass
  kContent,  // one of its messages may be the cause
};
enum class RefusedAt { kUnknown, kEnvelope, kText };
// `status` is the enhanced code, `diagnostic` what the refusing host said ("552 5.3.4 ...").
Refusal classify_refusal(std::string_view status, std::string_view diagnostic, RefusedAt at);

// Where a refused parcel is cut: the index of the first item of the second half, by octets; at
// least one item in each. `octets` has two or more.
std::size_t half_of(const std::vector<std::uint64_t>& octets);

}  // namespace bsmtp::mda
