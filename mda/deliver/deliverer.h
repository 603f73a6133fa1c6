// Deliverer: delivers what bsmtp-in accepted, each recipient of each message once, through
// `resubmit-connections` workers and a keeper of parcels. The service tells it when something
// changed (scan) and when its time has come (next_due); it has no timer of its own and its threads
// sleep when idle. Failure: everything that cannot be delivered now stays in accepted/ or
// deferred/. Threads: one caller; `changed` is called from workers and must only wake the caller
// up.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "mda/deliver/keeper.h"
#include "mda/deliver/worker.h"

namespace bsmtp::mda {

class Deliverer {
 public:
  // Spool, journal, notices, clock and quarantine must outlive it.
  Deliverer(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
            ledger::Journal& journal, NoticeStore& notices, const spool::Quarantine& quarantine,
            const Clock& clock, std::function<void()> changed);
  ~Deliverer();
  Deliverer(const Deliverer&) = delete;
  Deliverer& operator=(const Deliverer&) = delete;

  // Restricts to one peer ("" = all).
  void only_peer(const std::string& peer) { only_peer_ = peer; }
  // Looks at accepted/ and at what is due in deferred/, and queues it.
  Status scan();
  // When scan() should be called although nothing arrived; nullopt: never.
  std::optional<TimePoint> next_due() const;
  // Nothing is being delivered and nothing due waits (a paused MTA counts as waiting for later).
  bool idle() const;
  // Something is left that was due: the host MTA could not be reached.
  bool paused() const { return queue_.paused_until().has_value(); }
  // Something could not be done although the host MTA was there; the log says what.
  bool had_trouble() const { return shared_.trouble; }
  // A receipt was noted in the ledger since the last call.
  bool take_receipt_owed() { return shared_.receipt_owed.exchange(false); }
  // Workers finish the message at hand and end; ended(): all have.
  void finish() { queue_.stop(); }
  bool ended() const;
  // Workers finish the message at hand; what is not done after `grace` is interrupted.
  void stop(std::chrono::milliseconds grace);

 private:
  void ended_one();

  const spool::Spool& spool_;
  const Clock& clock_;
  ParcelQueue queue_;
  DeliveryShared shared_;
  ParcelKeeper keeper_;
  std::string only_peer_;
  std::map<std::string, TimePoint> deferred_;  // not yet due: name -> when
  std::vector<std::unique_ptr<DeliveryWorker>> workers_;
  std::vector<std::thread> threads_;
  mutable std::mutex done_mutex_;
  std::condition_variable done_;
  std::size_t running_ = 0;
};

}  // namespace bsmtp::mda
