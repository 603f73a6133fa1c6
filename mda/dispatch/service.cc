// See service.h: the loop, and its end. How it begins: service_start.cc; events: service_events.cc.
#include "mda/dispatch/service.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/flush_request.h"
#include "mda/dispatch/queue_watch.h"

namespace bsmtp::mda {
namespace {

constexpr std::chrono::seconds kSweepInterval{3600};
// After SIGTERM; below TimeoutStopSec of the unit, with twice kCutGrace for the rest.
constexpr std::chrono::seconds kStopGrace{30};
// For the threads to end after their connections were cut.
constexpr std::chrono::milliseconds kCutGrace{4000};
constexpr std::chrono::milliseconds kEndingStep{100};

void earlier(std::optional<TimePoint>& due, std::optional<TimePoint> when) {
  if (when && (!due || *when < *due)) {
    due = when;
  }
}

}  // namespace

Service::~Service() {
  stop();
}

Status Service::scan_all() {
  rescan_ = false;
  accepted_changed_ = true;
  periodic(Task::kNotices).wanted = true;
  periodic(Task::kReturns).wanted = true;
  periodic(Task::kAnswers).wanted = true;
  TRY(outbound_->scan());
  flush_peers();
  return Status::ok();
}

// It may have been upgraded, or unmounted, under a program that was left running.
Status Service::spool_is_ours() {
  Status status = spool::Spool::open(spool_.ops(), spool_.root()).status();
  if (status.error_number() != 0) {
    log::trouble("spool", status);  // a disk that cannot be read says nothing about that
    trouble_ = true;
    return Status::ok();
  }
  if (!status.is_ok()) {
    log::alarm("spool", str_cat({status.text(), "; bsmtp-dispatch stops"}));
  }
  return status;
}

void Service::flush_peers() {
  for (const std::string& peer : peers_) {
    const auto asked = take_flush_request(spool_, peer);
    if (!asked.is_ok()) {
      log::trouble(peer, asked.status());
    } else if (asked.value()) {
      outbound_->flush(peer);
    }
  }
}

Result<ServiceEnd> Service::run(int signal_fd, const std::function<bool()>& reload_ok) {
  if (options_.flush) {
    outbound_->flush("");
  }
  for (;;) {
    mailbox_->drain();
    if (ended()) {
      stop();
      return ending_->end;
    }
    TRY(spool_is_ours());
    TRY(handle_events().status());
    if (rescan_ && !ending_) {
      TRY(scan_all());
    }
    const std::optional<TimePoint> due = tick();
    if (options_.once && !ending_ && (clock_doubted_ || all_idle())) {
      // What the last worker did (a notice, items given back) may have come behind our back:
      // its events are there now.
      bool quiet = mailbox_->drain() == 0;
      bool events = false;
      TRY_ASSIGN(events, handle_events());
      quiet = (quiet && !events && !rescan_) || clock_doubted_;
      if (!quiet) {
        continue;
      }
      const bool trouble = trouble_ || outbound_->had_trouble() ||
                           (deliverer_ && (deliverer_->paused() || deliverer_->had_trouble()));
      stop();
      return trouble ? ServiceEnd::kDoneWithTrouble : ServiceEnd::kDone;
    }
    TRY(wait(signal_fd, due));
    handle_signals(signal_fd, reload_ok);
  }
}

std::optional<TimePoint> Service::tick() {
  const TimePoint now = clock_.now();
  if (ending_) {
    std::optional<TimePoint> soon = now + kEndingStep;
    beat(now, soon);
    return soon;
  }
  if (!clock_believed(now)) {
    std::optional<TimePoint> next = now + config_->heartbeat;
    beat(now, next);
    return next;
  }
  std::optional<TimePoint> due = outbound_->tick();
  if (options_.once && outbound_->take_given_back()) {
    // While it was tried nobody saw that it waits, and there is no later look.
    periodic(Task::kWatch).wanted = true;
    last_beat_ = TimePoint();
  }
  if (deliverer_) {
    const auto next = deliverer_->next_due();
    if (accepted_changed_ || (next && *next <= now)) {
      accepted_changed_ = false;
      if (const Status status = deliverer_->scan(); !status.is_ok()) {
        trouble_ = true;
        log::trouble("accepted", status);
      }
    }
    earlier(due, deliverer_->next_due());
    periodic(Task::kAnswers).wanted |= deliverer_->take_receipt_owed();
  }
  for (const Task task :
       {Task::kNotices, Task::kReturns, Task::kSweep, Task::kLedger, Task::kAnswers}) {
    start_periodic(task, now, due);
  }
  start_watch(now, due);
  beat(now, due);
  return due;
}

// What waits is handed to a helper by name: the queues themselves are this thread's.
void Service::start_watch(TimePoint now, std::optional<TimePoint>& due) {
  Periodic& p = periodic(Task::kWatch);
  if (p.running || !outbound_->scanned()) {
    return;  // it comes back to us
  }
  if (!p.wanted && p.next && *p.next > now) {
    earlier(due, p.next);
    return;
  }
  p.wanted = false;
  p.running = true;
  auto peers = std::make_shared<std::vector<PeerBacklog>>(outbound_->backlog());
  bool more = false;
  for (PeerBacklog& peer : *peers) {
    if (journal_ == nullptr) {
      // Nobody can say who was told already.
      peer.delayed.clear();
      peer.expired.clear();
      peer.ready.clear();
      peer.unconfirmed.clear();
    }
    more = more || (peer.more && journal_ != nullptr);
  }
  helpers_->submit([this, peers, more](std::size_t) {
    SubmitContext context{config_, spool_, *notices_, clock_};
    const Status status = queue_watch_.watch(context, *peers);
    mailbox_->post([this, peers, more, status] {
      outbound_->watched(*peers);
      trouble_ = trouble_ || !status.is_ok();
      // Somebody may have asked for another look meanwhile.
      periodic(Task::kWatch).wanted |= more && status.is_ok();
      task_done(Task::kWatch, clock_.now() + config_->heartbeat);
    });
  });
}

bool Service::clock_believed(TimePoint now) {
  clock_doubted_ = !clock_watch_->believe(now);
  trouble_ = trouble_ || clock_doubted_;
  return !clock_doubted_;
}

void Service::start_periodic(Task task, TimePoint now, std::optional<TimePoint>& due) {
  Periodic& p = periodic(task);
  if (!p.running && (p.wanted || (p.next && *p.next <= now))) {
    p.wanted = false;
    p.next.reset();
    p.running = true;
    helpers_->submit(
        [this, task, journal = journal_](std::size_t) { run_task(task, journal.get()); });
  }
  if (!p.running) {
    earlier(due, p.next);
  }
}

void Service::run_task(Task task, ledger::Journal* journal) {
  if (task == Task::kLedger) {
    open_ledger_again();
    return;
  }
  std::optional<TimePoint> next;
  Status status;
  SubmitContext context{config_, spool_, *notices_, clock_};
  const TimePoint later = clock_.now() + config_->retry_initial;
  if (task == Task::kNotices) {
    const auto sent = notice_sender_->run();
    status = sent.status();
    next = sent.is_ok() ? sent.value() : later;
  } else if (task == Task::kReturns) {
    status = handle_news(context);
    next = status.is_ok() ? std::nullopt : std::optional<TimePoint>(later);
  } else if (task == Task::kAnswers) {
    if (journal != nullptr) {  // else the ledger, when it opens, brings us back
      const auto written = receipt_desk_->run(*journal);
      status = written.status();
      next = written.is_ok() ? written.value() : later;
    }
  } else {
    SweepReport report;
    status = sweep(context, journal, *quarantine_, peers_, report);
    next = clock_.now() + kSweepInterval;
  }
  mailbox_->post([this, task, next, status] {
    const bool waits = next && (task == Task::kNotices || task == Task::kReturns);
    trouble_ = trouble_ || !status.is_ok() || waits;
    task_done(task, next);
  });
}

void Service::task_done(Task task, std::optional<TimePoint> next) {
  periodic(task).running = false;
  periodic(task).next = next;
}

void Service::beat(TimePoint now, std::optional<TimePoint>& due) {
  // A restricted run says nothing about the other peers' mail.
  if (!options_.peer.empty()) {
    return;
  }
  // A quota that is used up is known to bsmtp-out at once.
  const auto full = outbound_->full_since();
  if (now >= last_beat_ + config_->heartbeat || now < last_beat_ || full != last_full_) {
    last_beat_ = now;
    last_full_ = full;
    const Status status = spool::write_heartbeat(
        spool_, {now, outbound_->late_since(), full, clock_watch_->believed_before()});
    if (!status.is_ok()) {
      log::trouble("heartbeat", status);
    }
  }
  earlier(due, last_beat_ + config_->heartbeat);
}

bool Service::all_idle() {
  const bool helpers_idle = std::none_of(periodic_.begin(), periodic_.end(),
                                         [](const Periodic& p) { return p.running || p.wanted; });
  const bool delivered = !deliverer_ || (!accepted_changed_ && deliverer_->idle());
  return helpers_idle && outbound_->idle() && outbound_->scanned() && delivered;
}

Status Service::wait(int signal_fd, std::optional<TimePoint> due) {
  std::array<pollfd, 3> fds = {
      {{signal_fd, POLLIN, 0}, {watcher_->fd(), POLLIN, 0}, {mailbox_->fd(), POLLIN, 0}}};
  int timeout = -1;
  if (due) {
    // Rounded up, so that the time has really come when poll returns; capped, so that a clock
    // set forward is noticed.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - clock_.now()).count();
    timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, 3600L * 1000));
  }
  if (::poll(fds.data(), fds.size(), timeout) < 0 && errno != EINTR) {
    return Status::from_errno("poll", errno);
  }
  return Status::ok();
}

void Service::handle_signals(int signal_fd, const std::function<bool()>& reload_ok) {
  signalfd_siginfo info{};
  while (::read(signal_fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != static_cast<std::uint32_t>(SIGHUP)) {
      begin_end(ServiceEnd::kStopped, kStopGrace);
    } else if ((!ending_ || ending_->end == ServiceEnd::kReload) && reload_ok()) {
      begin_end(ServiceEnd::kReload, config_->smtp_timeout);
    }
  }
}

void Service::begin_end(ServiceEnd end, std::chrono::seconds grace) {
  const auto until = std::chrono::steady_clock::now() + grace;
  ending_ = Ending{end, ending_ ? std::min(ending_->until, until) : until};
  notice_sender_->finish();
  if (deliverer_) {
    deliverer_->finish();
  }
}

bool Service::ended() {
  if (!ending_) {
    return false;
  }
  const bool helping =
      std::any_of(periodic_.begin(), periodic_.end(), [](const Periodic& p) { return p.running; });
  return std::chrono::steady_clock::now() >= ending_->until ||
         (!helping && outbound_->idle() && (!deliverer_ || deliverer_->ended()));
}

void Service::stop() {
  if (notice_sender_) {
    notice_sender_->interrupt();
  }
  if (deliverer_) {
    deliverer_->stop(kCutGrace);
  }
  if (outbound_) {
    outbound_->stop(kCutGrace);
  }
  helpers_.reset();
  // After the last worker nobody posts any more.
  deliverer_.reset();
  outbound_.reset();
}

}  // namespace bsmtp::mda
