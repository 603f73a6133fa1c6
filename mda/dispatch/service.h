// Service: bsmtp-dispatch itself: one thread that watches the spool, keeps the time and the
// heartbeat, and drives Outbound, Deliverer and the notices; all work is done by their workers.
// Sleeps in poll() until something arrives or is due. SIGTERM/SIGINT: begins nothing new, gives
// what is under way half a minute, then cuts its connections; SIGHUP: the same with smtp-timeout,
// ends with kReload and the caller goes on with the Service it opened for the new configuration.
// Failure: what cannot be opened at start; a spool that later is of another version, or gone. A
// ledger that cannot be opened stops delivery (alarm) but not the outbound half; it is tried again
// with back-off. Threads: one; start_signals() first.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"
#include "mda/deliver/deliverer.h"
#include "mda/dispatch/clock_watch.h"
#include "mda/dispatch/mailbox.h"
#include "mda/dispatch/outbound.h"
#include "mda/dispatch/parcel_lookup.h"
#include "mda/dispatch/receipt_desk.h"
#include "mda/dispatch/sweep.h"
#include "mda/dispatch/watcher.h"
#include "mda/notice/sender.h"

namespace bsmtp::mda {

struct ServiceOptions {
  bool once = false;
  bool flush = false;
  std::string peer;  // "" = all
};

enum class ServiceEnd { kStopped, kReload, kDone, kDoneWithTrouble };

// Blocks SIGTERM, SIGINT and SIGHUP in this and all later threads, ignores SIGPIPE, and returns
// the descriptor on which they arrive.
Result<UniqueFd> start_signals();

class Service {
 public:
  static Result<std::unique_ptr<Service>> open(std::shared_ptr<const config::Config> config,
                                               const Clock& clock, ServiceOptions options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // `reload_ok` is asked at SIGHUP, perhaps more than once: false keeps the present
  // configuration.
  Result<ServiceEnd> run(int signal_fd, const std::function<bool()>& reload_ok);

 private:
  enum class Task { kNotices, kReturns, kSweep, kLedger, kAnswers, kWatch };
  struct Periodic {
    bool running = false;
    bool wanted = true;             // something arrived
    std::optional<TimePoint> next;  // and by time
  };
  struct Ending {
    ServiceEnd end;
    std::chrono::steady_clock::time_point until;  // then connections are cut
  };

  Service(std::shared_ptr<const config::Config> config, const Clock& clock, ServiceOptions options,
          spool::Spool spool);
  Status start();
  void open_ledger();
  void ledger_opened(std::shared_ptr<ledger::Journal> journal);
  void start_deliverer();
  void report_forgotten_peers();
  Status watch_all();
  Status scan_all();
  Status spool_is_ours();
  Result<bool> handle_events();  // false: there were none
  void handle_peer_event(const std::string& peer, int place, const Watcher::Event& event);
  void flush_peers();
  std::optional<TimePoint> tick();
  void start_periodic(Task task, TimePoint now, std::optional<TimePoint>& due);
  void run_task(Task task, ledger::Journal* journal);
  void start_watch(TimePoint now, std::optional<TimePoint>& due);
  Status handle_news(SubmitContext& context);
  void open_ledger_again();
  std::chrono::seconds ledger_wait();
  void task_done(Task task, std::optional<TimePoint> next);
  void beat(TimePoint now, std::optional<TimePoint>& due);
  bool all_idle();
  bool clock_believed(TimePoint now);
  Status wait(int signal_fd, std::optional<TimePoint> due);
  void handle_signals(int signal_fd, const std::function<bool()>& reload_ok);
  void begin_end(ServiceEnd end, std::chrono::seconds grace);
  bool ended();  // begin_end() was called and nothing is under way, or the time is over
  void stop();
  Periodic& periodic(Task task) { return periodic_.at(static_cast<std::size_t>(task)); }

  std::shared_ptr<const config::Config> config_;
  const Clock& clock_;
  ServiceOptions options_;
  spool::Spool spool_;
  std::vector<std::string> peers_;  // worked for; the index gives the watch tags
  std::shared_ptr<ledger::Journal> journal_;
  std::optional<spool::Quarantine> quarantine_;
  std::unique_ptr<NoticeStore> notices_;
  std::unique_ptr<Mailbox> mailbox_;
  std::optional<Watcher> watcher_;
  std::unique_ptr<NoticeSender> notice_sender_;
  std::unique_ptr<ReceiptDesk> receipt_desk_;
  std::unique_ptr<Outbound> outbound_;
  std::unique_ptr<Deliverer> deliverer_;
  std::unique_ptr<WorkerPool> helpers_;
  std::array<Periodic, 6> periodic_;
  QueueWatch queue_watch_;
  TokenIndex tokens_;  // of handle_news()
  std::optional<Ending> ending_;
  std::uint64_t ledger_failures_ = 0;  // in a row; of whoever opens it, one at a time
  bool accepted_changed_ = true;
  bool rescan_ = false;
  bool trouble_ = false;
  std::optional<ClockWatch> clock_watch_;
  bool clock_doubted_ = false;
  TimePoint last_beat_{};
  std::map<std::string, TimePoint> last_full_;  // as the last heartbeat says
};

}  // namespace bsmtp::mda
