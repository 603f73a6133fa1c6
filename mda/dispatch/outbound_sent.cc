// See outbound.h: parcels that await a receipt, and parcels that are split.
#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/spool/receipt_times.h"
#include "mda/dispatch/outbound.h"
#include "mda/dispatch/split_job.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {
namespace {

constexpr std::chrono::seconds kHoldAlarm{3600};

void earliest(std::optional<TimePoint>& due, TimePoint when) {
  if (when != TimePoint::max() && (!due || when < *due)) {
    due = when;
  }
}

}  // namespace

Status Outbound::scan_sent(const std::string& peer, Queue& queue) {
  if (queue.peer->profile != config::Profile::kNative) {
    return Status::ok();  // nothing but time ends these: the sweep looks
  }
  std::optional<spool::ReceiptTimes> times;
  TRY_ASSIGN(times, spool::read_receipt_times(spool_, peer));
  queue.receipts_seen = times.has_value();
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool_.list_parcels(peer, spool::Stage::kSent));
  queue.sent.clear();
  for (const std::string& id : ids) {
    queue.sent.set(id, TimePoint::max());
  }
  queue.unseen_sent.assign(ids.rbegin(), ids.rend());
  return Status::ok();
}

void Outbound::sent_arrived(const std::string& peer, const std::string& id) {
  const auto found = queues_.find(peer);
  if (found == queues_.end() || !is_id(id) ||
      found->second.peer->profile != config::Profile::kNative) {
    return;
  }
  Queue& queue = found->second;
  const auto leaving = queue.ready.find(id);
  if (leaving != queue.ready.end() && leaving->second.in_work) {
    return;  // its job calls again when it has ended
  }
  const auto fields = spool::ParcelDir::peek_state(spool_, peer, spool::Stage::kSent, id);
  if (!fields.is_ok()) {
    if (fields.status().error_number() == ENOENT) {
      queue.sent.remove(id);
    } else {
      queue.sent.set(id, clock_.now() + config_->retry_maximum);
      log::trouble(id, fields.status());
    }
    return;
  }
  const ParcelState state = ParcelState::from(*fields);
  // What was begun is ended, also when receipts were switched off meanwhile.
  if (!state.splitting.empty() && state.failing.empty()) {
    queue.sent.remove(id);
    queue.splits.emplace(id, TimePoint());
    return;
  }
  if (!awaits_receipt(*queue.peer, state) && state.failing.empty() && state.refused.empty()) {
    queue.sent.remove(id);
    return;
  }
  if (!state.held.empty()) {
    tell_of_hold(peer, queue);
  }
  const bool unfinished = state.finished == TimePoint() || !state.failing.empty();
  const SentDecision decision = decide_sent(state, resend_times(*config_, id == queue.in_the_way),
                                            queue.receipts_seen, clock_.now());
  queue.sent.set(id, unfinished || decision.step != SentStep::kWait ? TimePoint() : decision.next);
}

void Outbound::sent_left(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  // It may have come back meanwhile: the disk decides.
  if (queue != queues_.end() && queue->second.reviewing.count(id) == 0 &&
      !spool_.ops().stat(spool_.paths().parcel(peer, spool::Stage::kSent, id)).is_ok()) {
    queue->second.sent.remove(id);
  }
}

void Outbound::parcel_touched(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  if (queue == queues_.end()) {
    return;
  }
  const auto ready = queue->second.ready.find(id);
  if (ready != queue->second.ready.end()) {
    ready->second.next = TimePoint();
  }
  sent_arrived(peer, id);
}

void Outbound::receipt_came(const std::string& peer) {
  const auto queue = queues_.find(peer);
  if (queue == queues_.end() || queue->second.receipts_seen) {
    return;
  }
  queue->second.receipts_seen = true;
  // What was held because nothing was ever heard of this peer is asked about again.
  std::vector<std::string> ids;
  for (const auto& [id, due] : queue->second.sent.all()) {
    ids.push_back(id);
  }
  queue->second.unseen_sent = std::move(ids);
}

void Outbound::tell_of_hold(const std::string& peer, Queue& queue) {
  const TimePoint now = clock_.now();
  if (queue.hold_told != TimePoint() && now >= queue.hold_told &&
      now < queue.hold_told + kHoldAlarm) {
    return;
  }
  queue.hold_told = now;
  log::alarm(peer,
             str_cat({"parcels have expired and no receipt ever came from this peer; they are kept "
                      "and nobody is told: ask its admin, then `bsmtpctl parcel resend`, `release` "
                      "or `fail` each, and set receipts = no if it sends none"}));
}

// Receipts that got lost must not stop a peer's mail for `resend-after`: while mail waits for one,
// the oldest parcel without is sent again sooner, and when that is answered the next.
void Outbound::find_in_the_way(Queue& queue) {
  std::string oldest;
  if (queue.waiting.count() > 0 && queue.peer->wants_receipts() && queue.receipts_seen &&
      unacked(queue) >= queue.peer->max_unacked && queue.sent.size() > 0) {
    oldest = queue.sent.all().begin()->first;
    const auto leaving = queue.ready.begin();
    if (leaving != queue.ready.end() && leaving->second.again && leaving->first < oldest) {
      oldest = leaving->first;
    }
  }
  if (oldest == queue.in_the_way || queue.reviewing.count(oldest) != 0) {
    return;
  }
  queue.in_the_way = oldest;
  if (queue.sent.contains(oldest)) {
    queue.sent.set(oldest, TimePoint());
  }
}

void Outbound::tick_sent(TimePoint now, std::optional<TimePoint>& due) {
  for (auto& [name, queue] : queues_) {
    if (queue.peer->state == config::PeerState::kOff || !reviews_) {
      continue;
    }
    find_in_the_way(queue);
    for (std::string id = queue.sent.first_due(now); !id.empty() && submitters_.free() > 0;
         id = queue.sent.first_due(now)) {
      queue.sent.set(id, TimePoint::max());
      start_review(name, queue, id);
    }
    if (const auto next = queue.sent.next()) {
      earliest(due, std::max(*next, now));
    }
  }
}

void Outbound::start_review(const std::string& name, Queue& queue, const std::string& parcel) {
  ++submitting_;
  queue.reviewing.insert(parcel);
  submitters_.submit(
      [this, name, peer = queue.peer, parcel,
       known = Circumstances{queue.receipts_seen, parcel == queue.in_the_way}](std::size_t) {
        SubmitContext context{config_, spool_, notices_, clock_};
        const auto result = review_sent(context, *peer, parcel, known);
        mailbox_.post([this, name, parcel, result] { review_done(name, parcel, result); });
      });
}

void Outbound::review_done(const std::string& name, const std::string& parcel,
                           const Result<SentResult>& result) {
  --submitting_;
  Queue& queue = queues_.at(name);
  queue.reviewing.erase(parcel);
  if (!result.is_ok()) {
    trouble_ = true;
    log::alarm(parcel, result.status().text());
    queue.sent.set(parcel, clock_.now() + config_->retry_initial);
    return;
  }
  switch (result->kind) {
    case SentResult::Kind::kHeld:
      tell_of_hold(name, queue);
      [[fallthrough]];
    case SentResult::Kind::kWait:
      queue.sent.set(parcel, result->next);
      break;
    case SentResult::Kind::kSplit:
      queue.sent.remove(parcel);
      queue.splits.emplace(parcel, TimePoint());
      break;
    case SentResult::Kind::kMoved:
      queue.sent.remove(parcel);
      parcel_arrived(name, parcel);
      break;
    case SentResult::Kind::kGone:
      queue.sent.remove(parcel);
      if (spool_.ops().stat(spool_.paths().parcel(name, spool::Stage::kSent, parcel)).is_ok() &&
          queue.peer->wants_receipts()) {
        queue.sent.set(parcel, clock_.now() + config_->retry_initial);  // someone works on it
      }
      break;
  }
}

bool Outbound::start_split(const std::string& name, Queue& queue, TimePoint now,
                           std::optional<TimePoint>& due) {
  const auto split =
      std::min_element(queue.splits.begin(), queue.splits.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (split == queue.splits.end() || split->second == TimePoint::max()) {
    return false;
  }
  if (split->second > now) {
    earliest(due, split->second);
    return false;
  }
  if (queue.splitting || builders_.free() == 0 || space_is_low(now, due)) {
    return false;
  }
  split->second = TimePoint::max();
  queue.splitting = true;
  ++building_;
  last_built_ = name;
  builders_.submit([this, name, peer = queue.peer, parcel = split->first](std::size_t worker) {
    BuildContext context{config_, spool_,           notices_,
                         clock_,  signers_[worker], parcel::Receipt::kWantedNow};
    const auto result = split_parcel(context, *peer, parcel);
    mailbox_.post([this, name, parcel, result] { split_done(name, parcel, result); });
  });
  return true;
}

void Outbound::split_done(const std::string& name, const std::string& parcel,
                          const Result<std::size_t>& result) {
  --building_;
  Queue& queue = queues_.at(name);
  queue.splitting = false;
  if (result.is_ok()) {
    queue.splits.erase(parcel);
    queue.build_failures = 0;
    for (const spool::Stage stage : {spool::Stage::kReady, spool::Stage::kSent}) {
      if (spool_.ops().stat(spool_.paths().parcel(name, stage, parcel)).is_ok()) {
        queue.splits[parcel] = clock_.now() + config_->retry_initial;  // someone works on it
      }
    }
  } else {
    trouble_ = true;
    queue.splits[parcel] = clock_.now() + back_off(++queue.build_failures, config_->retry_initial,
                                                   config_->retry_maximum);
    log::alarm(parcel,
               str_cat({"it cannot be split, its messages wait: ", result.status().text()}));
  }
  // New parcels lie in ready/, and what could not be built is in incoming/ or in the old one.
  Status scanned = recover_peer(spool_, name);
  if (scanned.is_ok()) {
    scanned = scan_ready(name, queue);
  }
  if (!scanned.is_ok()) {
    log::trouble(name, scanned);
  }
}

}  // namespace bsmtp::mda
