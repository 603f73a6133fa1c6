// See service.h: opening what the service stands on, the ledger also later.
#include <sys/signalfd.h>

#include <csignal>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/service.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {

Result<UniqueFd> start_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&set, signal);
  }
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return Status::from_errno("pthread_sigmask", error);
  }
  std::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return Status::from_errno("signalfd", errno);
  }
  return fd;
}

Result<std::unique_ptr<Service>> Service::open(std::shared_ptr<const config::Config> config,
                                               const Clock& clock, ServiceOptions options) {
  std::vector<std::string> names;
  for (const config::Peer& peer : config->peers) {
    names.push_back(peer.name);
  }
  TRY(spool::Spool::create_layout(os::real_file_ops(), config->spool_directory, names));
  auto spool = spool::Spool::open(os::real_file_ops(), config->spool_directory);
  if (!spool.is_ok()) {
    return spool.status();
  }
  if (!options.peer.empty()) {
    const config::Peer* peer = config->peer_for_argument(options.peer);
    if (peer == nullptr) {
      return Status::temporary("4.3.5", str_cat({"--peer ", printable(options.peer, 100),
                                                 ": no such peer in the configuration"}));
    }
    options.peer = peer->name;
  }
  std::unique_ptr<Service> service(
      new Service(std::move(config), clock, std::move(options), std::move(spool).value()));
  TRY(service->start());
  return service;
}

Service::Service(std::shared_ptr<const config::Config> config, const Clock& clock,
                 ServiceOptions options, spool::Spool spool)
    : config_(std::move(config)),
      clock_(clock),
      options_(std::move(options)),
      spool_(std::move(spool)) {
  for (const config::Peer& peer : config_->peers) {
    if (options_.peer.empty() || options_.peer == peer.name) {
      peers_.push_back(peer.name);
    }
  }
}

Status Service::start() {
  clock_watch_.emplace(spool_);
  open_ledger();
  report_forgotten_peers();
  auto quarantine = spool::Quarantine::open(
      spool_.ops(), spool_.paths().quarantine(), spool_.paths().inbound_tmp(),
      {config_->quarantine_bytes, config_->quarantine_count, config_->quarantine_age});
  if (!quarantine.is_ok()) {
    return quarantine.status();
  }
  quarantine_.emplace(std::move(quarantine).value());
  TRY_ASSIGN(mailbox_, Mailbox::open());
  auto watcher = Watcher::open();
  if (!watcher.is_ok()) {
    return watcher.status();
  }
  watcher_.emplace(std::move(watcher).value());
  notices_ = std::make_unique<NoticeStore>(spool_, journal_.get());
  notice_sender_ = std::make_unique<NoticeSender>(config_, *notices_, clock_);
  receipt_desk_ = std::make_unique<ReceiptDesk>(config_, spool_, *notices_, clock_, options_.once,
                                                options_.peer);
  outbound_ = std::make_unique<Outbound>(config_, spool_, *notices_, clock_, *mailbox_, peers_);
  helpers_ = std::make_unique<WorkerPool>(periodic_.size());
  if (journal_ != nullptr) {
    start_deliverer();
  }
  TRY(watch_all());
  TRY(outbound_->recover());
  return scan_all();
}

void Service::open_ledger() {
  periodic(Task::kLedger).wanted = false;
  auto journal = ledger::Journal::open(spool_.paths().ledger());
  if (journal.is_ok()) {
    journal_ = std::move(journal).value();
    return;
  }
  trouble_ = true;
  log::alarm("ledger", str_cat({journal.status().text(), "; accepted mail waits undelivered"}));
  periodic(Task::kLedger).next = clock_.now() + ledger_wait();
}

// Whatever it is (no room, a lock, a missing file) may be over by then.
std::chrono::seconds Service::ledger_wait() {
  return back_off(++ledger_failures_, config_->retry_initial, config_->retry_maximum);
}

// In a helper: SQLite waits for a lock, and a check of the whole file takes its time.
void Service::open_ledger_again() {
  auto journal = ledger::Journal::open(spool_.paths().ledger());
  std::optional<TimePoint> next;
  std::shared_ptr<ledger::Journal> opened;
  if (journal.is_ok()) {
    opened = std::move(journal).value();
  } else {
    next = clock_.now() + ledger_wait();
    log::alarm("ledger", str_cat({journal.status().text(), "; accepted mail waits undelivered"}));
  }
  mailbox_->post([this, opened, next] {
    task_done(Task::kLedger, next);
    if (opened != nullptr && !ending_) {
      ledger_opened(opened);
    }
  });
}

void Service::ledger_opened(std::shared_ptr<ledger::Journal> journal) {
  journal_ = std::move(journal);
  notices_->use_journal(journal_.get());
  start_deliverer();
  accepted_changed_ = true;
  periodic(Task::kAnswers).wanted = true;
}

void Service::start_deliverer() {
  deliverer_ = std::make_unique<Deliverer>(config_, spool_, *journal_, *notices_, *quarantine_,
                                           clock_, [box = mailbox_.get()] { box->wake(); });
  deliverer_->only_peer(options_.peer);
}

// Mail of a peer that was taken out of the configuration: nobody looks at it otherwise.
void Service::report_forgotten_peers() {
  const auto names = spool_.peers();
  if (!names.is_ok() || !options_.peer.empty()) {
    return;
  }
  for (const std::string& name : names.value()) {
    if (config_->find_peer(name) != nullptr) {
      continue;
    }
    std::size_t left = 0;
    for (const std::string& directory :
         {spool_.paths().incoming(name), spool_.paths().stage(name, spool::Stage::kBuilding),
          spool_.paths().stage(name, spool::Stage::kReady),
          spool_.paths().stage(name, spool::Stage::kHeld)}) {
      const auto entries = spool_.ops().list(directory);
      left += entries.is_ok() ? entries->size() : 0;
    }
    if (left > 0) {
      log::alarm(name, str_cat({std::to_string(left),
                                " messages or parcels wait for a peer that is not configured any "
                                "more; nobody sends them: configure the peer again until they "
                                "have left, or remove its directory below peers/"}));
    }
  }
}

}  // namespace bsmtp::mda
