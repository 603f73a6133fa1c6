// See outbound.h.
#include "mda/dispatch/outbound.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/build_job.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {
namespace {

// Free space is asked for at most this often.
constexpr std::chrono::seconds kSpaceInterval{30};

void earlier(std::optional<TimePoint>& due, TimePoint when) {
  if (!due || when < *due) {
    due = when;
  }
}

// Calls `visit` for all queues, beginning behind `last`.
template <typename Map, typename Visit>
void in_turn(Map& queues, const std::string& last, const Visit& visit) {
  auto queue = queues.upper_bound(last);
  for (std::size_t i = 0; i < queues.size(); ++i) {
    if (queue == queues.end()) {
      queue = queues.begin();
    }
    visit(queue->first, queue->second);
    ++queue;
  }
}

}  // namespace

Status recover_peer(const spool::Spool& spool, const std::string& peer) {
  std::size_t undone = 0;
  TRY_ASSIGN(undone, spool::recover_building(spool, peer, [](const std::string& item) {
               log::ambiguous(
                   item,
                   "interrupted while `bsmtpctl peer bypass` handed it to the host MTA; it waits "
                   "again");
             }));
  if (undone > 0) {
    log::trouble(peer, Status::temporary("4.3.0", str_cat({std::to_string(undone),
                                                           " unfinished parcels undone"})));
  }
  return Status::ok();
}

Outbound::Outbound(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
                   NoticeStore& notices, const Clock& clock, Mailbox& mailbox,
                   const std::vector<std::string>& peers)
    : config_(std::move(config)),
      spool_(spool),
      notices_(notices),
      clock_(clock),
      mailbox_(mailbox),
      signers_(std::max<std::size_t>(1, config_->build_workers)),
      builders_(signers_.size()),
      submitters_(std::max<std::size_t>(1, config_->submit_connections)) {
  for (std::size_t i = 0; i < submitters_.size(); ++i) {
    mtas_.push_back(std::make_unique<HostMta>(
        HostMtaOptions{config_->submit, config_->host, config_->smtp_timeout}));
  }
  for (const std::string& name : peers) {
    queues_[name].peer = config_->find_peer(name);
  }
}

Outbound::~Outbound() {
  stop(std::chrono::seconds(5));
}

void Outbound::stop(std::chrono::milliseconds grace) {
  const bool built = builders_.stop(std::chrono::milliseconds(0));
  if (!submitters_.stop(grace)) {
    for (const auto& mta : mtas_) {
      mta->interrupt();
    }
    submitters_.stop(grace);
  }
  if (!built) {
    builders_.stop(grace);
  }
}

void Outbound::flush(const std::string& peer) {
  for (auto& [name, queue] : queues_) {
    if (peer.empty() || peer == name) {
      queue.flush_until = clock_.now();
      queue.build_not_before = TimePoint();
      for (auto& [id, ready] : queue.ready) {
        ready.next = TimePoint();
      }
    }
  }
  submit_not_before_ = TimePoint();
}

// Where receipts are off nobody ever says that a parcel arrived: the host MTA's 250 has to do.
std::uint64_t Outbound::unacked(const Queue& queue) {
  return queue.building.size() + queue.ready.size() +
         (queue.peer->wants_receipts() ? queue.sent.size() : 0U);
}

BatchDecision Outbound::decide(const Queue& queue, TimePoint now) const {
  const config::Peer& peer = *queue.peer;
  if (peer.state != config::PeerState::kOn && peer.state != config::PeerState::kStopping) {
    return {};
  }
  const BatchLimits limits{peer.max_messages, peer.max_bytes, peer.max_age, peer.max_unacked,
                           spread_for(config_->parcel_lifetime)};
  const auto oldest = queue.waiting.oldest();
  const bool flush = oldest && *oldest <= queue.flush_until;
  BatchDecision decision = decide_batch(queue.waiting, limits, unacked(queue), flush, now);
  if (!queue.unseen.empty() && !decision.items.empty() &&
      (decision.reason == CloseReason::kAge || decision.reason == CloseReason::kFlush)) {
    return {};  // the rest of the batch is about to be seen
  }
  return decision;
}

std::optional<TimePoint> Outbound::tick() {
  const TimePoint now = clock_.now();
  std::optional<TimePoint> due;
  scan_on(now, due);
  for (auto& [name, queue] : queues_) {
    note_quota(name, queue, now);
  }
  tick_builds(now, due);
  tick_submissions(now, due);
  tick_sent(now, due);
  return due;
}

bool Outbound::space_is_low(TimePoint now, std::optional<TimePoint>& due) {
  const auto interval = std::min(kSpaceInterval, config_->retry_initial);
  if (now >= space_checked_ + interval || now < space_checked_) {
    space_checked_ = now;
    const Status status =
        spool_.require_free_now(static_cast<unsigned>(config_->free_percent_dispatch));
    if (!status.is_ok() && !space_low_) {
      log::alarm("spool", str_cat({status.text(), "; no parcels are built until there is room"}));
    }
    space_low_ = !status.is_ok();
  }
  if (space_low_) {
    trouble_ = true;
    earlier(due, space_checked_ + interval);
  }
  return space_low_;
}

void Outbound::tick_builds(TimePoint now, std::optional<TimePoint>& due) {
  // Each round gives every peer at most one worker.
  for (bool started = true; started && builders_.free() > 0;) {
    started = false;
    in_turn(queues_, last_built_, [&](const std::string& name, Queue& queue) {
      if (start_split(name, queue, now, due)) {
        started = true;
        return;
      }
      BatchDecision decision = decide(queue, now);
      if (decision.next_due) {
        earlier(due, *decision.next_due);
      }
      if (decision.items.empty()) {
        return;
      }
      if (now < queue.build_not_before) {
        earlier(due, queue.build_not_before);
      } else if (builders_.free() > 0 && !space_is_low(now, due)) {
        started = start_build(name, queue, std::move(decision)) || started;
      }
    });
  }
}

bool Outbound::start_build(const std::string& name, Queue& queue, BatchDecision decision) {
  const auto id = make_id(clock_.now());
  if (!id.is_ok()) {
    log::trouble(name, id.status());
    return false;
  }
  for (const std::string& item : decision.items) {
    queue.waiting.remove(item);
  }
  queue.building.insert(*id);
  ++building_;
  last_built_ = name;
  const std::string why = close_reason_name(decision.reason);
  const auto receipt = unacked(queue) >= (queue.peer->max_unacked + 1) / 2
                           ? parcel::Receipt::kWantedNow
                           : parcel::Receipt::kWanted;
  builders_.submit([this, name, peer = queue.peer, parcel = *id, items = std::move(decision.items),
                    why, receipt](std::size_t worker) {
    BuildContext context{config_, spool_, notices_, clock_, signers_[worker], receipt};
    const auto built = build_parcel(context, *peer, parcel, items, why);
    mailbox_.post([this, name, parcel, built] { build_done(name, parcel, built); });
  });
  return true;
}

void Outbound::build_done(const std::string& name, const std::string& parcel,
                          const Result<bool>& built) {
  Queue& queue = queues_.at(name);
  queue.building.erase(parcel);
  --building_;
  if (built.is_ok()) {
    queue.build_failures = 0;
    if (built.value()) {
      parcel_arrived(name, parcel);
    }
    return;
  }
  // The items went back to incoming/; their events put them into the index again.
  trouble_ = true;
  given_back_ = true;
  queue.build_not_before = clock_.now() + back_off(++queue.build_failures, config_->retry_initial,
                                                   config_->retry_maximum);
  log::alarm(name, str_cat({"no parcel can be built for this peer, its mail waits: ",
                            built.status().text()}));
  // Where even that failed (disk full) the parcel is unlocked now; if this fails too, the sweep
  // does it.
  Status scanned = recover_peer(spool_, name);
  if (scanned.is_ok()) {
    scanned = scan_incoming(name, queue);
  }
  if (scanned.is_ok()) {
    scanned = scan_ready(name, queue);
  }
  if (!scanned.is_ok()) {
    log::trouble(name, scanned);
  }
}

void Outbound::tick_submissions(TimePoint now, std::optional<TimePoint>& due) {
  if (now < submit_not_before_) {
    earlier(due, submit_not_before_);
    return;
  }
  for (bool started = true; started && submitters_.free() > 0;) {
    started = false;
    in_turn(queues_, last_submitted_, [&](const std::string& name, Queue& queue) {
      if (queue.peer->state == config::PeerState::kOff) {
        return;
      }
      for (auto& [id, ready] : queue.ready) {
        if (ready.in_work || (ready.again && !reviews_)) {
          continue;
        }
        if (ready.next > now) {
          earlier(due, ready.next);
        } else if (submitters_.free() > 0) {
          ready.in_work = true;
          start_submission(name, queue, id);
          started = true;
          return;
        }
      }
    });
  }
}

void Outbound::start_submission(const std::string& name, Queue& queue, const std::string& parcel) {
  ++submitting_;
  last_submitted_ = name;
  submitters_.submit([this, name, peer = queue.peer, parcel](std::size_t worker) {
    SubmitContext context{config_, spool_, notices_, clock_};
    const auto result = submit_parcel(context, *peer, parcel, *mtas_[worker]);
    // Parcels are few and large; a connection kept idle would be timed out by the host MTA.
    mtas_[worker]->close();
    mailbox_.post([this, name, parcel, result] { submission_done(name, parcel, result); });
  });
}

void Outbound::submission_done(const std::string& name, const std::string& parcel,
                               const Result<SubmitResult>& result) {
  --submitting_;
  Queue& queue = queues_.at(name);
  const TimePoint now = clock_.now();
  Ready& ready = queue.ready.at(parcel);
  ready.in_work = false;
  if (!result.is_ok()) {
    trouble_ = true;
    log::alarm(parcel, result.status().text());
    ready.next = now + config_->retry_initial;
    return;
  }
  if (result->kind != SubmitResult::Kind::kUnreachable) {
    unreachable_ = 0;
  }
  switch (result->kind) {
    case SubmitResult::Kind::kSent:
      queue.ready.erase(parcel);
      sent_arrived(name, parcel);
      break;
    case SubmitResult::Kind::kFailed:
      queue.ready.erase(parcel);
      break;
    case SubmitResult::Kind::kSplit:
      queue.ready.erase(parcel);
      queue.splits.emplace(parcel, TimePoint());
      break;
    case SubmitResult::Kind::kDeferred:
      ready.next = result->next;
      break;
    case SubmitResult::Kind::kUnreachable:
      trouble_ = true;
      if (now >= submit_not_before_) {
        log::trouble("submit", result->why);
        submit_not_before_ =
            now + back_off(++unreachable_, config_->retry_initial, config_->retry_maximum);
      }
      break;
    case SubmitResult::Kind::kGone:
      queue.ready.erase(parcel);
      if (spool_.ops().stat(spool_.paths().parcel(name, spool::Stage::kReady, parcel)).is_ok()) {
        // Another dispatcher has it in work; if that one dies it is ours again.
        Ready later;
        later.created = id_time(parcel).value_or(now);
        later.next = now + config_->retry_initial;
        queue.ready[parcel] = later;
      }
      break;
  }
}

}  // namespace bsmtp::mda
