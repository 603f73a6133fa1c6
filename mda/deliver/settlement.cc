// See settlement.h.
#include "mda/deliver/settlement.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

void refuse(RecipientState& state, const spool::AcceptedRefusal& refusal) {
  state.fate = Fate::kFailed;
  state.status = Status::permanent(refusal.code, refusal.text);
  state.stage = smtp::Stage::kLocal;
}

void leave_open(RecipientState& state, const Status& why, TimePoint now, const ExpiryRule& rule) {
  state.fate = Fate::kOpen;
  state.status = why;
  if (now >= rule.expires) {
    state.fate = Fate::kFailed;
    state.status =
        Status::temporary("4.4.7", str_cat({"delivery time expired; last answer: ", why.text()}));
  }
}

DsnRecipient dsn_recipient(const RecipientState& state, const std::string& remote) {
  DsnRecipient out;
  out.recipient = state.recipient;
  if (state.fate == Fate::kFailed && state.doubted) {
    out.status = "4.4.0";  // no answer: what was refused later is another copy
    out.reason =
        str_cat({"It may have been delivered: the answer to an earlier attempt was lost. "
                 "The last answer was: ",
                 state.status.text()});
    return out;
  }
  out.status = state.status.code();
  out.diagnostic = state.diagnostic;
  out.reason = state.status.text();
  out.remote_mta = state.diagnostic.empty() ? "" : remote;
  return out;
}

}  // namespace

std::vector<RecipientState> plan_recipients(const mail::Envelope& envelope,
                                            const spool::AcceptedMessage& message) {
  std::vector<RecipientState> states;
  states.reserve(envelope.recipients.size());
  for (const mail::Recipient& recipient : envelope.recipients) {
    RecipientState state;
    state.recipient = recipient;
    states.push_back(std::move(state));
  }
  for (const spool::AcceptedRefusal& refusal : message.refused) {
    if (refusal.recipient == 0) {
      std::for_each(states.begin(), states.end(),
                    [&](RecipientState& state) { refuse(state, refusal); });
    } else if (refusal.recipient <= states.size()) {
      refuse(states[refusal.recipient - 1], refusal);
    }
  }
  return states;
}

mail::Envelope remaining_envelope(const mail::Envelope& envelope,
                                  const std::vector<RecipientState>& states) {
  mail::Envelope out = envelope;
  out.recipients.clear();
  for (const RecipientState& state : states) {
    if (state.fate == Fate::kUntried) {
      out.recipients.push_back(state.recipient);
    }
  }
  return out;
}

void apply_delivery(const smtp::Delivery& delivery, TimePoint now, const ExpiryRule& rule,
                    std::vector<RecipientState>& states) {
  std::size_t n = 0;
  const bool progress = delivery.accepted() > 0;
  for (RecipientState& state : states) {
    if (state.fate != Fate::kUntried) {
      continue;
    }
    BSMTP_CHECK(n < delivery.recipients.size());
    const smtp::RecipientResult& result = delivery.recipients[n++];
    state.stage = result.stage;
    // Who was refused at RCPT has nothing of a text whose final reply was lost.
    state.doubted |=
        delivery.outcome == smtp::Outcome::kAmbiguous && result.stage == smtp::Stage::kText;
    state.diagnostic = result.reply.code == 0 ? "" : result.reply.to_string();
    if (delivery.outcome == smtp::Outcome::kDone && result.status.is_ok()) {
      state.fate = Fate::kDelivered;
      state.relayed_notice =
          !delivery.dsn_passed_on && wants_notice(state.recipient.notify, NoticeKind::kRelayed);
    } else if (result.too_many_recipients && progress) {
      state.again = true;
      state.fate = Fate::kOpen;
      state.status = result.status;
    } else if (result.status.is_permanent() && !result.too_many_recipients) {
      state.fate = Fate::kFailed;
      state.status = result.status;
    } else {
      leave_open(state,
                 result.status.is_ok() ? Status::temporary("4.4.2", "the final reply was lost")
                                       : result.status,
                 now, rule);
    }
  }
}

void apply_no_connection(const Status& why, TimePoint now, const ExpiryRule& rule,
                         std::vector<RecipientState>& states) {
  for (RecipientState& state : states) {
    if (state.fate == Fate::kUntried) {
      leave_open(state, why, now, rule);
    }
  }
}

bool all_final(const std::vector<RecipientState>& states) {
  return std::none_of(states.begin(), states.end(), [](const RecipientState& state) {
    return state.fate == Fate::kOpen || state.fate == Fate::kUntried;
  });
}

bool wants_retry_now(const std::vector<RecipientState>& states) {
  return std::any_of(states.begin(), states.end(),
                     [](const RecipientState& state) { return state.again; });
}

std::vector<FailureGroup> failure_groups(const std::vector<RecipientState>& states,
                                         const std::string& remote) {
  FailureGroup failed{NoticeKind::kFailure, {}};
  FailureGroup unknown{NoticeKind::kUnknown, {}};
  for (const RecipientState& state : states) {
    if (state.fate == Fate::kFailed && !state.told) {
      (state.doubted ? unknown : failed).recipients.push_back(dsn_recipient(state, remote));
    }
  }
  std::vector<FailureGroup> groups;
  for (FailureGroup* group : {&failed, &unknown}) {
    if (!group->recipients.empty()) {
      groups.push_back(std::move(*group));
    }
  }
  return groups;
}

std::vector<DsnRecipient> relayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote) {
  std::vector<DsnRecipient> out;
  for (const RecipientState& state : states) {
    if (state.fate == Fate::kDelivered && state.relayed_notice) {
      out.push_back(relayed_recipient(state.recipient, state.diagnostic, remote));
    }
  }
  return out;
}

std::vector<DsnRecipient> delayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote) {
  std::vector<DsnRecipient> out;
  for (const RecipientState& state : states) {
    if (state.fate == Fate::kOpen && !state.again) {
      out.push_back(dsn_recipient(state, remote));
    }
  }
  return out;
}

}  // namespace bsmtp::mda
