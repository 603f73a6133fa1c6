// See worker.h: preparing messages.
#include "mda/deliver/worker.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/deliver/handover.h"

namespace bsmtp::mda {
namespace {

// The next message's commands leave with the end of the one in hand, and its text when its note is
// on disk: so many are noted ahead, and made ready before.
constexpr std::size_t kReadyAhead = 5;
// Fewer are filled up to this many, so that several share a look into the ledger.
constexpr std::size_t kReadyTogether = 10;

std::size_t message_index(const ParcelQueue::Job& job) {
  return static_cast<std::size_t>(job.message);
}

const spool::AcceptedMeta& meta_of(const ParcelQueue::Job& job) {
  return job.parcel->dir.meta();
}

}  // namespace

DeliveryWorker::DeliveryWorker(DeliveryShared& shared)
    : shared_(shared),
      mta_({shared.config->resubmit, shared.config->resubmit_helo, shared.config->smtp_timeout}),
      journal_(shared.journal) {}

void DeliveryWorker::interrupt() {
  interrupted_ = true;
  mta_.interrupt();
}

std::optional<ParcelQueue::Job> DeliveryWorker::next_job() {
  using Wait = ParcelQueue::Wait;
  if (upcoming_) {
    return std::exchange(upcoming_, std::nullopt);
  }
  auto job = shared_.queue.next(Wait::kNo);
  if (!job) {
    flush();
    if (shared_.queue.paused_until()) {
      // What this worker gave back may have been the last that was given out: ask idle() again.
      shared_.changed();
    }
    release_connection();
    job = shared_.queue.next(mta_.is_open() ? Wait::kBriefly : Wait::kForever);
  }
  return job;
}

void DeliveryWorker::run() {
  while (!shared_.queue.stopping()) {
    if (!ahead_.empty()) {
      Attempt attempt = std::move(ahead_.front());
      ahead_.pop_front();
      hand_over(std::move(attempt));
      continue;
    }
    const auto job = next_job();
    if (job) {
      deliver(*job);
    } else {
      mta_.close();
      release_connection();
    }
  }
  flush();
  put_back_ahead();
  mta_.close();
  release_connection();
}

void DeliveryWorker::prefetch() {
  if (ahead_.size() >= kReadyAhead || upcoming_) {
    return;
  }
  std::vector<Attempt> taken;
  // No more than its share: what is ready here waits for this connection's message in hand.
  const std::size_t most = std::min<std::size_t>(
      kReadyTogether,
      1 + shared_.queue.to_do() / std::max<std::uint64_t>(1, shared_.config->resubmit_connections));
  while (ahead_.size() + taken.size() < most) {
    auto job = shared_.queue.next(ParcelQueue::Wait::kNo);
    if (!job) {
      break;
    }
    Attempt attempt;
    attempt.job = *job;
    if (!prepare(attempt).is_ok() ||
        !shared_.queue.own_keys(meta_of(attempt.job).peer, attempt.owned_keys)) {
      upcoming_ = std::move(job);  // deliver() does it again and says what is wrong
      break;
    }
    taken.push_back(std::move(attempt));
  }
  look_up_together(taken);
}

// Only now, when the keys are owned, may the ledger's state be taken: who owned them before has
// committed what became of them.
void DeliveryWorker::look_up_together(std::vector<Attempt>& taken) {
  const bool together = taken.size() > 1 && open_reader().is_ok() && reader_->begin_read().is_ok();
  std::size_t good = 0;
  while (good < taken.size() && look_up(taken[good]).is_ok() && has_work(taken[good])) {
    log_duplicates(taken[good]);
    ahead_.push_back(std::move(taken[good]));
    ++good;
  }
  if (together) {
    reader_->rollback();
  }
  if (good == taken.size()) {
    return;
  }
  // The first one without work, or with trouble, is deliver()'s; the others wait behind it.
  if (upcoming_) {
    shared_.queue.give_back(*upcoming_, true);
  }
  for (std::size_t i = taken.size(); i-- > good + 1;) {
    put_back(taken[i]);
  }
  shared_.queue.release_keys(meta_of(taken[good].job).peer, taken[good].owned_keys);
  upcoming_ = taken[good].job;
}

void DeliveryWorker::clear_note(const Attempt& attempt) {
  if (attempt.gate) {
    // If this fails, it is merely called ambiguous after a restart.
    const Status cleared = journal_.run([&](ledger::Ledger& ledger) {
      const spool::AcceptedMeta& meta = meta_of(attempt.job);
      return ledger.clear_attempt(meta.peer, meta.parcel_id, attempt.job.message);
    });
    if (!cleared.is_ok()) {
      log::trouble("ledger", cleared);
    }
  }
}

void DeliveryWorker::put_back(const Attempt& attempt) {
  clear_note(attempt);
  shared_.queue.release_keys(meta_of(attempt.job).peer, attempt.owned_keys);
  shared_.queue.give_back(attempt.job, true);
}

void DeliveryWorker::put_back_ahead() {
  while (!ahead_.empty()) {
    put_back(ahead_.back());
    ahead_.pop_back();
  }
  if (upcoming_) {
    shared_.queue.give_back(*std::exchange(upcoming_, std::nullopt), true);
  }
}

ExpiryRule DeliveryWorker::expiry(const ParcelQueue::Job& job) const {
  const spool::AcceptedMeta& meta = meta_of(job);
  TimePoint until = meta.accepted + shared_.config->delivery_expire;
  if (meta.expires) {
    // A message's one deadline runs from its arrival on the sending host; a parcel that came at
    // the last moment still gets a few attempts.
    until = std::max(std::min(until, *meta.expires), meta.accepted + shared_.config->clock_skew);
  }
  return {until, shared_.config->host};
}

void DeliveryWorker::deliver(const ParcelQueue::Job& job) {
  Attempt attempt;
  attempt.job = job;
  if (Status status = prepare(attempt); !status.is_ok()) {
    if (!is_damage(status) || !is_lost(job)) {
      unreadable(job, status);
      return;
    }
    rescue(attempt, status);
  }
  if (!shared_.queue.own_keys(meta_of(job).peer, attempt.owned_keys)) {
    // The same message is just being delivered from another parcel: look again when it is done.
    flush();
    shared_.queue.give_back(job, false);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return;
  }
  if (Status status = look_up(attempt); !status.is_ok()) {
    shared_.queue.release_keys(meta_of(job).peer, attempt.owned_keys);
    unreadable(job, status);
    return;
  }
  log_duplicates(attempt);
  if (attempt.lost) {
    flush();
    give_up(std::move(attempt));
  } else if (has_work(attempt)) {
    hand_over(std::move(attempt));
  } else {
    flush();
    settle(std::move(attempt));
  }
}

Status DeliveryWorker::prepare(Attempt& attempt) {
  const ParcelQueue::Job& job = attempt.job;
  auto item = job.parcel->dir.open_message(job.message);
  if (!item.is_ok()) {
    return item.status();
  }
  attempt.item.emplace(std::move(item).value());
  plan(attempt, attempt.item->envelope());
  // Nothing of what will be given up goes to the host MTA: that could only leave doubt.
  return is_lost(job) ? check_text(attempt) : Status::ok();
}

void DeliveryWorker::plan(Attempt& attempt, const mail::Envelope& envelope) {
  const ParcelQueue::Job& job = attempt.job;
  const spool::AcceptedMessage& message = meta_of(job).messages.at(message_index(job) - 1);
  attempt.states = plan_recipients(envelope, message);
  for (RecipientState& state : attempt.states) {
    state.key = recipient_key(envelope.sender, state.recipient.address, message.text_digest);
    attempt.owned_keys.push_back(state.key);
  }
}

Status DeliveryWorker::open_reader() {
  if (!reader_) {
    auto reader = ledger::Ledger::open_read_only(shared_.spool.paths().ledger());
    if (!reader.is_ok()) {
      return reader.status();
    }
    reader_.emplace(std::move(reader).value());
  }
  return Status::ok();
}

Status DeliveryWorker::look_up(Attempt& attempt) {
  using ledger::Outcome;
  TRY(open_reader());
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  const bool doubted = attempt.job.parcel->doubtful.count(attempt.job.message) != 0;
  std::vector<std::string_view> seen;
  std::vector<RecipientState*> refused;
  std::vector<RecipientState*> refused_in_doubt;
  for (RecipientState& state : attempt.states) {
    std::optional<ledger::RecipientRecord> record;
    TRY_ASSIGN(record, reader_->find_recipient(meta.peer, state.key));
    const bool twice = std::find(seen.begin(), seen.end(), state.key) != seen.end();
    seen.push_back(state.key);
    // Of an earlier attempt on this very message.
    const bool own =
        record && record->parcel_id == meta.parcel_id && record->message == attempt.job.message;
    // Who was refused before anything was sent, or by an attempt that came to its end, is in no
    // doubt although a crash left the message so.
    const bool refused_for_sure =
        state.fate == Fate::kFailed || (own && record->outcome == Outcome::kRefused);
    state.doubted =
        (doubted && !refused_for_sure) || (record && (record->outcome == Outcome::kDoubted ||
                                                      record->outcome == Outcome::kRefusedInDoubt));
    if (twice || (record && ledger::is_final(record->outcome))) {
      if (!own) {  // else there is nothing to tell
        attempt.duplicates.push_back(state.recipient.address);
      }
      state.fate = Fate::kKnown;
    } else if (own && record->outcome != Outcome::kDoubted) {
      (state.doubted ? refused_in_doubt : refused).push_back(&state);
    }
  }
  TRY(take_refused(attempt, NoticeKind::kFailure, refused));
  return take_refused(attempt, NoticeKind::kUnknown, refused_in_doubt);
}

Status DeliveryWorker::take_refused(const Attempt& attempt, NoticeKind kind,
                                    const std::vector<RecipientState*>& refused) {
  if (refused.empty()) {
    return Status::ok();
  }
  std::vector<DsnRecipient> recipients;
  recipients.reserve(refused.size());
  for (const RecipientState* state : refused) {
    recipients.push_back({state->recipient, "", "", "", ""});
  }
  TRY_ASSIGN(const bool told,
             shared_.notices.is_known(dsn_id(subject_of(attempt), kind, recipients)));
  for (RecipientState* state : refused) {
    if (told) {
      state->fate = Fate::kFailed;
      state->told = true;
    }
  }
  return Status::ok();
}

void DeliveryWorker::log_duplicates(const Attempt& attempt) const {
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  for (const std::string& address : attempt.duplicates) {
    log::message_duplicate(meta.parcel_id, meta.peer, message_index(attempt.job), address);
  }
}

bool DeliveryWorker::has_work(const Attempt& attempt) const {
  return std::any_of(attempt.states.begin(), attempt.states.end(),
                     [](const RecipientState& state) { return state.fate == Fate::kUntried; });
}

}  // namespace bsmtp::mda
