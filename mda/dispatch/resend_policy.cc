// See resend_policy.h.
#include "mda/dispatch/resend_policy.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "common/base/text.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {
namespace {

// "smtp; 552-5.3.4 ..." or "552 ...": begins with that reply code?
bool says_code(std::string_view diagnostic, std::string_view code) {
  return diagnostic.starts_with(code) &&
         (diagnostic.size() == code.size() || diagnostic[code.size()] == ' ' ||
          diagnostic[code.size()] == '-');
}

}  // namespace

std::string_view sent_step_name(SentStep step) {
  constexpr std::array<std::string_view, 6> kNames = {"wait",    "resend", "ask",
                                                      "unknown", "hold",   "refused"};
  return kNames.at(static_cast<std::size_t>(step));
}

TimePoint unknown_from(const ParcelState& state, const ResendTimes& times) {
  return std::max(state.expires, state.asked) + times.receipt_grace;
}

SentDecision decide_sent(const ParcelState& state, const ResendTimes& times, bool receipts_seen,
                         TimePoint now) {
  if (!state.refused.empty()) {
    const TimePoint told = std::min(state.bounced, now) + times.refused;
    return now >= told ? SentDecision{SentStep::kRefused, {}} : SentDecision{SentStep::kWait, told};
  }
  const bool asked = state.asked != TimePoint();
  if (!state.held.empty()) {
    // It was asked about when nothing had ever been heard of that peer; now there is somebody.
    return receipts_seen ? SentDecision{SentStep::kAsk, {}}
                         : SentDecision{SentStep::kWait, TimePoint::max()};
  }
  if (!asked && now >= state.expires) {
    return {SentStep::kAsk, {}};
  }
  if (asked && now >= unknown_from(state, times)) {
    return {receipts_seen ? SentStep::kUnknown : SentStep::kHold, {}};
  }
  TimePoint next = asked ? unknown_from(state, times) : state.expires;
  if (state.bounced != TimePoint()) {
    next = std::min(next, state.next);
  } else if (!asked && state.resends < kMaxResends) {
    const std::chrono::seconds wait = times.resend_after * (1 << state.resends);
    // A clock that was set back must not double the wait.
    next = std::min(next, std::min(state.handed, now) + wait);
  }
  return now >= next ? SentDecision{SentStep::kResend, {}} : SentDecision{SentStep::kWait, next};
}

TimePoint after_bounce(const ParcelState& state, const ResendTimes& times, TimePoint now) {
  return now + back_off(state.bounces, times.bounce_initial, times.bounce_maximum);
}

Refusal classify_refusal(std::string_view status, std::string_view diagnostic, RefusedAt at) {
  // RFC 3463 3.4: 5.3.4 the message is too big for the system, 5.2.3 for the mailbox. RFC 1870
  // 6.1: 552 without an enhanced code, or with one that says nothing, means the same.
  const bool plain_552 =
      says_code(diagnostic, "552") && (status.empty() || status == "5.0.0" || status == "5.3.0" ||
                                       status == "5.2.0" || !status.starts_with('5'));
  if (status == "5.3.4" || status == "5.2.3" || plain_552) {
    return Refusal::kTooBig;
  }
  return status.starts_with("5.7.") && at == RefusedAt::kText ? Refusal::kContent : Refusal::kOther;
}

std::size_t half_of(const std::vector<std::uint64_t>& octets) {
  const std::uint64_t whole = std::accumulate(octets.begin(), octets.end(), std::uint64_t{0});
  std::size_t cut = 1;
  for (std::uint64_t first = octets.front(); cut + 1 < octets.size(); ++cut) {
    first += octets[cut];
    if (first > whole / 2) {
      break;
    }
  }
  return cut;
}

}  // namespace bsmtp::mda
