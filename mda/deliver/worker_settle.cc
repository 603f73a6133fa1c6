// See worker.h: the transaction with the host MTA, the journal and notices.
#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/deliver/handover.h"
#include "mda/deliver/worker.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {
namespace {

constexpr std::chrono::seconds kLedgerRetry{1};
// How soon it is looked whether another worker has got the connection that all need.
constexpr std::chrono::seconds kTurn{1};
// A message on which this many connections in a row broke waits like any deferred one.
constexpr unsigned kMaxBroken = 2;
// See worker.h.
constexpr std::size_t kNotedAhead = 4;

std::size_t message_index(const ParcelQueue::Job& job) {
  return static_cast<std::size_t>(job.message);
}

const spool::AcceptedMeta& meta_of(const ParcelQueue::Job& job) {
  return job.parcel->dir.meta();
}

const spool::AcceptedMessage& message_of(const ParcelQueue::Job& job) {
  return meta_of(job).messages.at(message_index(job) - 1);
}

// What the ledger is to know; nullopt: nothing.
std::optional<ledger::Outcome> outcome_of(const RecipientState& state) {
  if (state.fate == Fate::kDelivered) {
    return ledger::Outcome::kDelivered;
  }
  if (state.fate == Fate::kFailed) {
    return ledger::Outcome::kFailed;
  }
  return state.fate == Fate::kOpen && state.doubted ? std::optional(ledger::Outcome::kDoubted)
                                                    : std::nullopt;
}

}  // namespace

ledger::Journal::Operation settle_operation(const std::string& peer, const std::string& parcel_id,
                                            std::uint64_t message,
                                            const std::vector<RecipientState>& states,
                                            TimePoint now, TimePoint retain_until) {
  return [=](ledger::Ledger& ledger) {
    for (const RecipientState& state : states) {
      if (const auto outcome = outcome_of(state)) {
        TRY(ledger.record_recipient(peer, state.key, {*outcome, parcel_id, message, now},
                                    retain_until));
      }
    }
    return ledger.clear_attempt(peer, parcel_id, message);
  };
}

bool DeliveryWorker::claim_connection() {
  if (claimed_) {
    return true;
  }
  unsigned none = 0;
  if (shared_.pauses == 0) {
    ++shared_.connections;
  } else if (!shared_.connections.compare_exchange_strong(none, 1)) {
    return false;
  }
  claimed_ = true;
  return true;
}

bool DeliveryWorker::release_connection() {
  if (claimed_ && !mta_.is_open()) {
    claimed_ = false;
    return shared_.connections.fetch_sub(1) > 1;
  }
  return false;
}

void DeliveryWorker::rest(std::chrono::milliseconds time) {
  put_back_ahead();
  if (shared_.queue.paused_until()) {
    shared_.changed();  // as in next_job()
  }
  shared_.queue.sleep(time);
}

void DeliveryWorker::hand_over(Attempt attempt) {
  if (!mta_.is_open()) {
    flush();
    release_connection();
    if (!claim_connection()) {
      put_back_ahead();
      put_back(attempt);
      rest(kTurn);
      return;
    }
  }
  if (Status status = mta_.ready(); !status.is_ok()) {
    flush();
    mta_down(std::move(attempt), status);
    return;
  }
  shared_.pauses = 0;
  refusals_ = 0;
  const smtp::Delivery delivery = transact(attempt);
  if (!attempt.damage.is_ok()) {
    clear_note(attempt);
    shared_.queue.release_keys(meta_of(attempt.job).peer, attempt.owned_keys);
    unreadable(attempt.job, attempt.damage);
    return;
  }
  if (delivery.outcome == smtp::Outcome::kNotSent && !interrupted_ &&
      shared_.queue.count_broken(attempt.job) < kMaxBroken) {
    // Surely not accepted; the next connection will do, or show that it is this message's fault.
    shared_.queue.release_keys(meta_of(attempt.job).peer, attempt.owned_keys);
    shared_.queue.give_back(attempt.job, true);
    return;
  }
  if (delivery.outcome == smtp::Outcome::kAmbiguous) {
    log::ambiguous(
        str_cat({meta_of(attempt.job).parcel_id, ".", std::to_string(attempt.job.message)}),
        "the host MTA's final reply was lost; the message is handed over again");
  }
  apply_delivery(delivery, shared_.clock.now(), expiry(attempt.job), attempt.states);
  settle(std::move(attempt));
}

const mail::Envelope& DeliveryWorker::envelope_of(Attempt& attempt) const {
  if (!attempt.envelope) {
    attempt.envelope = remaining_envelope(attempt.item->envelope(), attempt.states);
    if (attempt.envelope->size) {  // what the peer said of it is no more than a guess
      attempt.envelope->size = message_of(attempt.job).text_bytes;
    }
    // All that came through a pipe is labelled 8BITMIME. Where that is not offered, it is the text
    // that counts; what is 8-bit, or cannot be read, stays with the label and is deferred.
    if (attempt.envelope->body == "8BITMIME" && !mta_.extensions().eightbit) {
      const auto seven_bit = is_seven_bit(*attempt.item);
      if (seven_bit.is_ok() && *seven_bit) {
        attempt.envelope->body.clear();
      }
    }
  }
  return *attempt.envelope;
}

smtp::Delivery DeliveryWorker::transact(Attempt& attempt) {
  std::optional<Status> gate_status;
  const std::string lines = handover_lines(meta_of(attempt.job), attempt.job.message,
                                           shared_.config->host, shared_.clock.now());
  const auto write_text = [&](Sink& sink) {
    gate_status = journal_.wait(attempt.gate);
    TRY(*gate_status);
    return write_handover(*attempt.item, lines, shared_.config->host,
                          message_of(attempt.job).text_digest, sink, attempt.damage);
  };
  smtp::Client::Hooks hooks;
  hooks.meanwhile = [this, &attempt] {  // the MTA is thinking then
    prefetch();
    submit_journal(&attempt);
  };
  hooks.next = [this] { return ahead_.empty() ? nullptr : &envelope_of(ahead_.front()); };
  submit_journal(&attempt);
  smtp::Delivery delivery = mta_.send(envelope_of(attempt), write_text, hooks);
  if (!gate_status && attempt.gate) {
    gate_status = journal_.wait(attempt.gate);
  }
  if (gate_status && !gate_status->is_ok()) {
    shared_.alarm_pace.alarm("ledger", gate_status->text());
    for (Attempt& next : ahead_) {
      if (next.gate == attempt.gate) {
        next.gate.reset();  // noted together: noted anew
      }
    }
    flush();
  } else if (!complete_decided()) {
    flush();
  }
  return delivery;
}

void DeliveryWorker::submit_journal(Attempt* current) {
  std::vector<ledger::Journal::Operation> steps;
  std::vector<ledger::Journal::Ticket*> tickets;
  for (Attempt& done : pending_) {
    if (!done.settled) {
      const ParcelQueue::Job& job = done.job;
      steps.push_back(settle_operation(meta_of(job).peer, meta_of(job).parcel_id, job.message,
                                       done.states, shared_.clock.now(), job.parcel->retain_until));
      tickets.push_back(&done.settled);
    }
  }
  std::vector<Attempt*> to_note{current};
  for (std::size_t i = 0; i < std::min(kNotedAhead, ahead_.size()); ++i) {
    to_note.push_back(&ahead_[i]);
  }
  for (Attempt* attempt : to_note) {
    if (attempt != nullptr && !attempt->gate) {
      const spool::AcceptedMeta& meta = meta_of(attempt->job);
      steps.emplace_back([peer = meta.peer, id = meta.parcel_id, message = attempt->job.message,
                          now = shared_.clock.now()](ledger::Ledger& ledger) {
        return ledger.note_attempt(peer, id, message, now);
      });
      tickets.push_back(&attempt->gate);
    }
  }
  if (steps.empty()) {
    return;
  }
  const auto ticket = journal_.submit([steps = std::move(steps)](ledger::Ledger& ledger) {
    for (const auto& step : steps) {
      TRY(step(ledger));
    }
    return Status::ok();
  });
  for (ledger::Journal::Ticket* place : tickets) {
    *place = ticket;
  }
}

bool DeliveryWorker::flush() {
  while (!pending_.empty()) {
    submit_journal(nullptr);
    const Status status = journal_.wait(pending_.front().settled);
    if (status.is_ok()) {
      complete_decided();
      continue;
    }
    shared_.alarm_pace.alarm("ledger", status.text());
    if (shared_.queue.stopping()) {
      // Their attempt rows stand: the next start logs the messages as ambiguous.
      for (const Attempt& attempt : pending_) {
        shared_.queue.give_back(attempt.job, true);
      }
      pending_.clear();
      return false;
    }
    const ledger::Journal::Ticket failed = pending_.front().settled;
    for (Attempt& attempt : pending_) {
      if (attempt.settled == failed) {
        attempt.settled.reset();  // submitted again, together
      }
    }
    std::this_thread::sleep_for(kLedgerRetry);
  }
  return true;
}

bool DeliveryWorker::complete_decided() {
  while (!pending_.empty() && pending_.front().settled) {
    const auto decided = journal_.decided(pending_.front().settled);
    if (!decided || !decided->is_ok()) {
      return !decided;
    }
    Attempt attempt = std::move(pending_.front());
    pending_.pop_front();
    complete(std::move(attempt));
  }
  return true;
}

void DeliveryWorker::complete(Attempt attempt) {
  shared_.queue.release_keys(meta_of(attempt.job).peer, attempt.owned_keys);
  if (attempt.requeue) {
    shared_.queue.give_back(attempt.job, true);
    return;
  }
  attempt.item.reset();  // before the keeper removes the parcel
  shared_.queue.settled(attempt.job, attempt.finished, attempt.lost);
}

void DeliveryWorker::settle(Attempt attempt) {
  log_results(attempt);
  while (true) {
    const Status status = write_notices(attempt);
    if (status.is_ok()) {
      break;
    }
    shared_.alarm_pace.alarm(meta_of(attempt.job).parcel_id, status.text());
    if (shared_.queue.stopping()) {
      // Not recorded: the attempt is repeated after the restart, the notices have the same ids.
      shared_.queue.release_keys(meta_of(attempt.job).peer, attempt.owned_keys);
      shared_.queue.give_back(attempt.job, true);
      return;
    }
    std::this_thread::sleep_for(kLedgerRetry);
  }
  attempt.finished = all_final(attempt.states);
  attempt.requeue = wants_retry_now(attempt.states);
  const bool at_once = attempt.requeue || !mta_.is_open();
  pending_.push_back(std::move(attempt));
  if (at_once) {
    flush();
  }
}

NoticeSubject DeliveryWorker::subject_of(const Attempt& attempt) const {
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  return {
      *shared_.config, shared_.notices, meta.parcel_id,      std::to_string(attempt.job.message),
      meta.peer,       meta.accepted,   shared_.clock.now(), true};
}

Status DeliveryWorker::note_refused(const Attempt& attempt) {
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  return journal_.run([&](ledger::Ledger& ledger) {
    for (const RecipientState& state : attempt.states) {
      if (state.fate == Fate::kFailed && !state.told) {
        const auto as =
            state.doubted ? ledger::Outcome::kRefusedInDoubt : ledger::Outcome::kRefused;
        TRY(ledger.record_recipient(meta.peer, state.key,
                                    {as, meta.parcel_id, attempt.job.message, shared_.clock.now()},
                                    attempt.job.parcel->retain_until));
      }
    }
    return Status::ok();
  });
}

Status DeliveryWorker::write_notices(const Attempt& attempt) {
  const std::string& remote = shared_.config->host;
  const auto groups = failure_groups(attempt.states, remote);
  const auto relayed = relayed_recipients(attempt.states, remote);
  const TimePoint now = shared_.clock.now();
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  const bool late = now >= meta.accepted + shared_.config->delay_warning;
  if (attempt.lost && !attempt.item && !attempt.rescued) {
    return tell_postmaster(attempt);
  }
  if (groups.empty() && relayed.empty() && !late) {
    return Status::ok();
  }
  if (!groups.empty()) {
    TRY(note_refused(attempt));
  }
  for (const FailureGroup& group : groups) {
    TRY(write_report(attempt, group.kind, group.recipients));
  }
  if (!relayed.empty()) {
    TRY(write_report(attempt, NoticeKind::kRelayed, relayed));
  }
  if (late) {
    for (const DsnRecipient& recipient : delayed_recipients(attempt.states, remote)) {
      TRY(write_report(attempt, NoticeKind::kDelay, {recipient}));
    }
  }
  return Status::ok();
}

void DeliveryWorker::log_results(const Attempt& attempt) const {
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  for (const RecipientState& state : attempt.states) {
    const std::size_t index = message_index(attempt.job);
    const std::string& address = state.recipient.address;
    if (state.fate == Fate::kDelivered) {
      log::delivered(meta.parcel_id, meta.peer, index, address, state.diagnostic);
    } else if (state.fate == Fate::kFailed && !state.told) {
      log::delivery_failed(meta.parcel_id, meta.peer, index, address, state.status);
      if (state.doubted) {
        log::ambiguous(str_cat({meta.parcel_id, ".", std::to_string(index)}),
                       str_cat({"<", address,
                                "> may have it from an earlier attempt; its sender is told so"}));
      }
    } else if (state.fate == Fate::kOpen && !state.again) {
      log::delivery_deferred(meta.parcel_id, meta.peer, index, address, state.status);
    }
  }
}

void DeliveryWorker::mta_down(Attempt attempt, const Status& why) {
  const TimePoint now = shared_.clock.now();
  if (interrupted_ || now < expiry(attempt.job).expires) {
    put_back_ahead();
    put_back(attempt);
  } else {
    apply_no_connection(why, now, expiry(attempt.job), attempt.states);
    settle(std::move(attempt));
  }
  if (interrupted_) {
    return;
  }
  if (release_connection()) {
    // The MTA grants fewer connections than we ask for: those that it has granted do the work.
    rest(back_off(++refusals_, shared_.config->retry_initial, shared_.config->retry_maximum));
  } else if (!shared_.queue.paused_until()) {
    log::trouble("resubmit", why);
    shared_.queue.pause(now + back_off(++shared_.pauses, shared_.config->retry_initial,
                                       shared_.config->retry_maximum));
    shared_.changed();
  }
}

}  // namespace bsmtp::mda
