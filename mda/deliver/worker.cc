// See worker.h: loading parcels and preparing messages.
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

// The next message's commands leave with the end of the one in hand, so it must be ready by then;
// the one after it is made ready while the host MTA stores the one in hand.
constexpr std::size_t kReadyAhead = 2;

std::size_t message_index(const ParcelQueue::Job& job) {
  return static_cast<std::size_t>(job.message);
}

const spool::AcceptedMeta& meta_of(const ParcelQueue::Job& job) {
  return job.parcel->dir.meta();
}

}  // namespace

DeliveryWorker::DeliveryWorker(DeliveryShared& shared)
    : shared_(shared),
      mta_({shared.config->resubmit, shared.config->host, shared.config->smtp_timeout}),
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
    if (!job) {
      mta_.close();
    } else if (job->parcel == nullptr) {
      flush();
      load(job->name);
    } else {
      deliver(*job);
    }
  }
  flush();
  put_back_ahead();
  mta_.close();
}

void DeliveryWorker::prefetch() {
  while (ahead_.size() < kReadyAhead && !upcoming_ && prefetch_one()) {
  }
}

// False: nothing more to be had now.
bool DeliveryWorker::prefetch_one() {
  auto job = shared_.queue.next(ParcelQueue::Wait::kNo);
  if (!job || job->parcel == nullptr) {
    upcoming_ = std::move(job);
    return false;
  }
  Attempt attempt;
  attempt.job = *job;
  const std::string& peer = meta_of(attempt.job).peer;
  if (!prepare(attempt).is_ok() || !shared_.queue.own_keys(peer, attempt.owned_keys)) {
    upcoming_ = std::move(job);  // deliver() does it again and says what is wrong
    return false;
  }
  if (!look_up(attempt).is_ok() || !has_work(attempt)) {
    shared_.queue.release_keys(peer, attempt.owned_keys);
    upcoming_ = std::move(job);
    return false;
  }
  log_duplicates(attempt);
  ahead_.push_back(std::move(attempt));
  return true;
}

void DeliveryWorker::put_back(const Attempt& attempt) {
  const spool::AcceptedMeta& meta = meta_of(attempt.job);
  if (attempt.gate) {
    // Not a word of it was sent. If this fails, it is merely called ambiguous after a restart.
    const Status cleared = journal_.run([&](ledger::Ledger& ledger) {
      return ledger.clear_attempt(meta.peer, meta.parcel_id, attempt.job.message);
    });
    if (!cleared.is_ok()) {
      log::trouble("ledger", cleared);
    }
  }
  shared_.queue.release_keys(meta.peer, attempt.owned_keys);
  shared_.queue.give_back(attempt.job, true);
}

void DeliveryWorker::put_back_ahead() {
  while (!ahead_.empty()) {
    put_back(ahead_.back());
    ahead_.pop_back();
  }
  if (upcoming_ && upcoming_->parcel != nullptr) {
    shared_.queue.give_back(*std::exchange(upcoming_, std::nullopt), true);
  }
}

void DeliveryWorker::load(const std::string& name) {
  auto dir = AcceptedDir::claim(shared_.spool, name);
  Result<bool> opened = false;
  if (!dir.is_ok()) {
    opened = dir.status();
  } else if (dir->has_value()) {
    opened = open_parcel(std::move(**dir));
  }
  if (!opened.is_ok()) {
    shared_.trouble = true;
    log::alarm(name, opened.status().text());
  }
  if (!opened.is_ok() || !opened.value()) {
    // Trouble, or somebody else's lock: it is still there, and no event will say so again.
    shared_.queue.look_again(shared_.clock.now() + shared_.config->retry_initial);
    shared_.queue.forget(name);
    shared_.changed();
  }
}

Result<bool> DeliveryWorker::open_parcel(AcceptedDir dir) {
  const config::Config& config = *shared_.config;
  const spool::AcceptedMeta& meta = dir.meta();
  ledger::ParcelRecord record;
  record.peer = meta.peer;
  record.parcel_id = meta.parcel_id;
  record.digest = meta.digest;
  record.accepted = meta.accepted;
  record.retain_until =
      meta.expires.value_or(meta.accepted + config.replay_window) + config.ledger_retention;
  ledger::ParcelKnown known = ledger::ParcelKnown::kNew;
  std::vector<std::uint64_t> in_doubt;
  TRY(journal_.run([&](ledger::Ledger& ledger) {
    TRY_ASSIGN(known, ledger.note_parcel(record));
    TRY_ASSIGN(in_doubt, ledger.attempts(record.peer, record.parcel_id));
    return Status::ok();
  }));
  if (known == ledger::ParcelKnown::kConflict) {
    const std::string why = "another parcel with this id and other contents was taken before";
    std::string id;
    TRY_ASSIGN(id, dir.quarantine(shared_.quarantine, "5.7.1", why, shared_.clock.now()));
    log::alarm(record.parcel_id, str_cat({"peer ", record.peer, ": ", why, "; quarantined as ", id,
                                          ": ask the peer's admin"}));
    return false;
  }
  if (known == ledger::ParcelKnown::kDone) {
    log::parcel_duplicate(record.parcel_id, record.peer, meta.queue_id);
    TRY(dir.remove());
    return false;
  }
  log_ambiguous(dir, in_doubt);
  auto parcel = std::make_shared<OpenParcel>(std::move(dir));
  parcel->retain_until = record.retain_until;
  const auto& messages = parcel->dir.messages();
  parcel->todo.assign(messages.begin(), messages.end());
  const std::string name = parcel->dir.name();
  if (messages.empty()) {
    TRY(journal_.run([&](ledger::Ledger& ledger) {
      return ledger.finish_parcel(record.peer, record.parcel_id);
    }));
    TRY(parcel->dir.remove());
    return false;
  }
  shared_.queue.opened(name, std::move(parcel));
  return true;
}

void DeliveryWorker::log_ambiguous(const AcceptedDir& dir,
                                   const std::vector<std::uint64_t>& messages) {
  for (const std::uint64_t message : messages) {
    log::ambiguous(str_cat({dir.meta().parcel_id, ".", std::to_string(message)}),
                   "interrupted while this message was handed to the host MTA; it is handed over "
                   "again");
  }
}

ExpiryRule DeliveryWorker::expiry(const ParcelQueue::Job& job) const {
  return {meta_of(job).accepted + shared_.config->delivery_expire, shared_.config->host};
}

void DeliveryWorker::deliver(const ParcelQueue::Job& job) {
  Attempt attempt;
  attempt.job = job;
  if (Status status = prepare(attempt); !status.is_ok()) {
    unreadable(job, status);
    return;
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
  if (has_work(attempt)) {
    hand_over(std::move(attempt));
  } else {
    flush();
    settle(std::move(attempt));
  }
}

Status DeliveryWorker::prepare(Attempt& attempt) {
  const ParcelQueue::Job& job = attempt.job;
  auto item =
      spool::ItemReader::open(shared_.spool.ops(), job.parcel->dir.message_path(job.message));
  if (!item.is_ok()) {
    return item.status();
  }
  attempt.item.emplace(std::move(item).value());
  const spool::AcceptedMessage& message = meta_of(job).messages.at(message_index(job) - 1);
  attempt.states = plan_recipients(attempt.item->envelope(), message);
  for (RecipientState& state : attempt.states) {
    state.key = recipient_key(attempt.item->envelope().sender, state.recipient.address,
                              message.text_digest);
    attempt.owned_keys.push_back(state.key);
  }
  return Status::ok();
}

Status DeliveryWorker::look_up(Attempt& attempt) {
  if (!reader_) {
    auto reader = ledger::Ledger::open_read_only(shared_.spool.paths().ledger());
    if (!reader.is_ok()) {
      return reader.status();
    }
    reader_.emplace(std::move(reader).value());
  }
  const std::string& peer = meta_of(attempt.job).peer;
  std::vector<std::string_view> seen;
  for (RecipientState& state : attempt.states) {
    std::optional<ledger::RecipientRecord> record;
    TRY_ASSIGN(record, reader_->find_recipient(peer, state.key));
    const bool twice = std::find(seen.begin(), seen.end(), state.key) != seen.end();
    seen.push_back(state.key);
    if (!record && !twice) {
      continue;
    }
    const spool::AcceptedMeta& meta = meta_of(attempt.job);
    // Settled by an earlier attempt on this very message: nothing to tell.
    if (!record || record->parcel_id != meta.parcel_id || record->message != attempt.job.message) {
      attempt.duplicates.push_back(state.recipient.address);
    }
    state.fate = Fate::kKnown;
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
