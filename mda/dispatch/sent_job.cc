// See sent_job.h.
#include "mda/dispatch/sent_job.h"

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/log/events.h"

namespace bsmtp::mda {
namespace {

constexpr const char* kNeverAnswered = "no receipt ever came from this peer";

// Not refused by anybody, and no verdict about the message (RFC 3463: persistent transient
// failure, network status undefined).
Status no_answer(const config::Peer& peer) {
  return Status::temporary(
      "4.4.0", str_cat({"the gateway ", peer.host, " has not said whether it has the mail"}));
}

Status hold(spool::ParcelDir& parcel, ParcelState& state) {
  state.held = kNeverAnswered;
  TRY(parcel.write_state(state.to_fields()));
  log::parcel_held(parcel.id(), parcel.peer(), state.held);
  return Status::ok();
}

Result<SentResult> act(SubmitContext& context, const config::Peer& peer, spool::ParcelDir& parcel,
                       ParcelState& state, Circumstances known) {
  const SentDecision decision = decide_sent(state, resend_times(*context.config, known.in_the_way),
                                            known.receipts_seen, context.clock.now());
  switch (decision.step) {
    case SentStep::kWait:
      return SentResult{SentResult::Kind::kWait, decision.next};
    case SentStep::kResend: {
      const bool bounced = state.bounced != TimePoint();
      TRY(resend_parcel(parcel, state, bounced ? "bounced" : "no-receipt", !bounced));
      break;
    }
    case SentStep::kAsk:
      state.asked = context.clock.now();
      TRY(resend_parcel(parcel, state, "last-question", false));
      break;
    case SentStep::kHold:
      TRY(hold(parcel, state));
      return SentResult{SentResult::Kind::kHeld, TimePoint::max()};
    case SentStep::kRefused:
      TRY(fail_copy(context, parcel, state, may_have_arrived(state),
                    Status::permanent(state.refused, state.failing_reason), state.failing_word));
      break;
    case SentStep::kUnknown:
      state.failing_unknown = true;
      TRY(fail_parcel(context, parcel, state, no_answer(peer), {}));
      break;
  }
  return SentResult{SentResult::Kind::kMoved, {}};
}

}  // namespace

ResendTimes resend_times(const config::Config& config, bool in_the_way) {
  ResendTimes times;
  times.receipt_grace = config.receipt_grace;
  // A bounce after the MTA's own retries: what refused it needs a human rather than a minute.
  times.bounce_initial = config.retry_maximum;
  times.bounce_maximum = std::max(config.retry_maximum, std::chrono::seconds(86400));
  // The peer's own receipt-delay is not known; ours is the best guess.
  times.refused = std::max(config.retry_maximum, 2 * config.receipt_delay);
  times.resend_after =
      in_the_way ? std::min(config.resend_after, times.refused) : config.resend_after;
  return times;
}

Result<SentResult> review_sent(SubmitContext& context, const config::Peer& peer,
                               const std::string& parcel_id, Circumstances known) {
  auto claimed = spool::ParcelDir::claim(context.spool, peer.name, spool::Stage::kSent, parcel_id);
  if (!claimed.is_ok()) {
    return claimed.status();
  }
  if (!claimed->has_value()) {
    return SentResult{};
  }
  spool::ParcelDir& parcel = **claimed;
  spool::Fields fields;
  TRY_ASSIGN(fields, parcel.read_state());
  ParcelState state = ParcelState::from(fields);
  if (!state.failing.empty()) {
    TRY(fail_parcel(context, parcel, state, noted_failure(state), state.failing_word));
    return SentResult{SentResult::Kind::kMoved, {}};
  }
  if (!state.splitting.empty()) {
    return SentResult{SentResult::Kind::kSplit, {}};
  }
  if (!awaits_receipt(peer, state) && state.refused.empty()) {
    return SentResult{};
  }
  if (state.finished == TimePoint()) {
    TRY(parcel.move_to(spool::Stage::kReady));  // stopped in resend_parcel()
    return SentResult{SentResult::Kind::kMoved, {}};
  }
  return act(context, peer, parcel, state, known);
}

Status resend_parcel(spool::ParcelDir& parcel, ParcelState& state, std::string_view why,
                     bool counted) {
  state.resends += counted ? 1U : 0U;
  state.attempts = 0;
  state.next = TimePoint();
  state.finished = TimePoint();
  state.held.clear();
  if (!state.refused.empty()) {  // by an admin's word: what bounced was not the only copy then
    state.refused.clear();
    state.failing_reason.clear();
    state.failing_word = {};
    ++state.bounces;
  }
  TRY(parcel.write_state(state.to_fields()));
  log::parcel_resent(parcel.id(), parcel.peer(), why, state.resends);
  return parcel.move_to(spool::Stage::kReady);
}

void note_bounce(ParcelState& state, const ResendTimes& times, TimePoint now) {
  state.bounced = now;
  ++state.bounces;
  state.next = after_bounce(state, times, now);
}

}  // namespace bsmtp::mda
