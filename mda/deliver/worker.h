// DeliveryWorker: one thread's share of delivery: takes messages from the queue and hands them
// over through its own connection to the host MTA's resubmission listener.
// The order that makes a crash harmless: (1) a note that a message is under way is committed before
// one octet of its text is sent (MAIL, RCPT and DATA may have gone ahead: they accept nothing);
// (2) a DSN is durable before the failure it reports is committed. The note is committed ahead,
// with the result of the message before the one in flight, so that no text waits for the disk.
// After a crash at most two messages per connection are in doubt, the one in flight and the one
// before it, whose result was on its way to the disk; the notes name them: they are delivered
// again and logged outcome=ambiguous (so is the next one, which may have been noted only).
// Failure: trouble with the ledger stops this worker until it is gone or stop is asked.
// Threads: run() in one thread; interrupt() from any.
#pragma once

#include <atomic>
#include <deque>
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
  std::atomic<bool> trouble{false};      // a parcel could not be worked on, or not put away
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
    std::optional<mail::Envelope> envelope;  // of the transaction, once it was asked for
    std::vector<RecipientState> states;
    std::vector<std::string> owned_keys;
    std::vector<std::string> duplicates;  // recipients that another parcel has served
    ledger::Journal::Ticket gate;         // of the note that it is under way
    ledger::Journal::Ticket settled;      // of its result
    bool requeue = false;                 // back to the queue when committed
    bool finished = false;                // of this message nothing is left
  };

  void load(const std::string& name);
  Result<bool> open_parcel(AcceptedDir dir);
  void log_ambiguous(const AcceptedDir& dir, const std::vector<std::uint64_t>& messages);
  std::optional<ParcelQueue::Job> next_job();
  void deliver(const ParcelQueue::Job& job);
  // Makes the messages after the one in hand ready: ahead_, up to one that must wait (upcoming_).
  void prefetch();
  bool prefetch_one();
  // Before any of its text was sent.
  void put_back(const Attempt& attempt);
  void put_back_ahead();
  static const mail::Envelope& envelope_of(Attempt& attempt);
  void log_duplicates(const Attempt& attempt) const;
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

  // One operation: results that are not submitted yet, and notes for `current` and the message
  // after it unless they have one.
  void submit_journal(Attempt* current);
  // Waits for all of `pending_` to be on disk, again and again on trouble; false: stopping first.
  bool flush();
  // All that was committed with `ticket`.
  void complete(const ledger::Journal::Ticket& ticket);
  void complete(Attempt attempt);
  void conclude(const ParcelQueue::Job& job);
  ExpiryRule expiry(const ParcelQueue::Job& job) const;

  DeliveryShared& shared_;
  HostMta mta_;
  ledger::Journal& journal_;
  std::optional<ledger::Ledger> reader_;
  std::deque<Attempt> pending_;               // results not known to be on disk
  std::deque<Attempt> ahead_;                 // ready to be handed over, in this order
  std::optional<ParcelQueue::Job> upcoming_;  // taken, nothing done yet
  std::atomic<bool> interrupted_{false};
};

// The journal operation that makes `previous` final and notes `next` as under way; either may be
// absent. Public for tests.
ledger::Journal::Operation settle_operation(const std::string& peer, const std::string& parcel_id,
                                            std::uint64_t message,
                                            const std::vector<RecipientState>& states,
                                            TimePoint now, TimePoint retain_until);

}  // namespace bsmtp::mda
