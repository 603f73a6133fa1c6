// DeliveryWorker: one thread's share of delivery: takes messages from the queue and hands them
// over through its own connection to the host MTA's resubmission listener.
// The order that makes a crash harmless: (1) the results of the previous message and a note that
// this one is under way are committed together, before one octet of this message's text is sent
// (MAIL and RCPT may be under way meanwhile: they accept nothing); (2) a DSN is durable before
// the failure it reports is committed. So after a crash at most one message per connection is in
// doubt, and the note says which: it is delivered again and logged outcome=ambiguous.
// Failure: trouble with the ledger stops this worker until it is gone or stop is asked.
// Threads: run() in one thread; interrupt() from any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/spool/item.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"
#include "mda/deliver/parcel_queue.h"
#include "mda/deliver/settlement.h"
#include "mda/notice/host_mta.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

// What all workers of one Deliverer share; outlives them.
struct DeliveryShared {
  std::shared_ptr<const config::Config> config;
  const spool::Spool& spool;
  ledger::Journal& journal;
  NoticeStore& notices;
  const Clock& clock;
  ParcelQueue& queue;
  const spool::Quarantine& quarantine;
  std::function<void()> changed;  // a parcel was deferred or the MTA paused: ask next_due() again
  std::atomic<std::uint64_t> pauses{0};  // in a row
};

class DeliveryWorker {
 public:
  explicit DeliveryWorker(DeliveryShared& shared);
  // Until the queue stops.
  void run();
  void interrupt();

 private:
  // One message between opening and commit.
  struct Attempt {
    ParcelQueue::Job job;
    std::optional<spool::ItemReader> item;
    std::vector<RecipientState> states;
    std::vector<std::string> owned_keys;
    bool noted = false;     // an attempt row is in the ledger
    bool requeue = false;   // back to the queue when committed
    bool finished = false;  // of this message nothing is left
  };

  void load(const std::string& name);
  Result<bool> open_parcel(AcceptedDir dir);
  void log_ambiguous(const AcceptedDir& dir, const std::vector<std::uint64_t>& messages);
  void deliver(const ParcelQueue::Job& job);
  Status prepare(Attempt& attempt);
  Status look_up(Attempt& attempt);
  bool has_work(const Attempt& attempt) const;
  void hand_over(Attempt attempt);
  smtp::Delivery transact(Attempt& attempt);
  void settle(Attempt attempt);
  Status write_notices(const Attempt& attempt);
  void log_results(const Attempt& attempt) const;
  void unreadable(const ParcelQueue::Job& job, const Status& why);
  void mta_down(Attempt attempt, const Status& why);

  ledger::Journal::Ticket submit_journal(const Attempt* next);
  // Waits for `pending_` to be on disk, again and again on trouble; false: stopping first.
  bool flush();
  void complete_pending();
  void conclude(const ParcelQueue::Job& job);
  ExpiryRule expiry(const ParcelQueue::Job& job) const;

  DeliveryShared& shared_;
  HostMta mta_;
  ledger::Journal& journal_;
  std::optional<ledger::Ledger> reader_;
  std::optional<Attempt> pending_;  // results not yet committed
  std::atomic<bool> interrupted_{false};
};

// The journal operation that makes `previous` final and notes `next` as under way; either may be
// absent. Public for tests.
ledger::Journal::Operation settle_operation(const std::string& peer, const std::string& parcel_id,
                                            std::uint64_t message,
                                            const std::vector<RecipientState>& states,
                                            TimePoint now, TimePoint retain_until);

}  // namespace bsmtp::mda
