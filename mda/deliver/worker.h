// DeliveryWorker: one thread's share of delivery: takes messages from the queue and hands them
// over through its own connection to the host MTA's resubmission listener.
// The order that makes a crash harmless: (1) a note that a message is under way is on disk before
// one octet of its text is sent (MAIL, RCPT and DATA may have gone ahead: they accept nothing);
// (2) a DSN is durable before the failure it reports is committed. Notes are made four messages
// ahead, so that no text waits for the disk. After a crash of this process the message in flight
// and the one before it are in doubt on each connection, and up to three more while the disk is
// being synced; after a power cut also those whose results were committed in the last ten
// milliseconds. The notes name them: they are delivered again and logged outcome=ambiguous (so
// are the next ones, which were noted only).
// Failure: trouble with the ledger stops this worker until it is gone or stop is asked.
// Threads: run() in one thread; interrupt() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/ledger/journal.h"
#include "common/spool/item.h"
#include "mda/deliver/parcel_queue.h"
#include "mda/deliver/settlement.h"
#include "mda/deliver/shared.h"
#include "mda/notice/host_mta.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

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
    Status damage;      // what cannot be read, or of the text: is not as it was accepted
    bool lost = false;  // damaged and past its time: its sender is told
    // Of a lost one without `item`; nullopt: that cannot be read either, nobody can be told.
    std::optional<mail::Envelope> rescued;
    std::vector<std::string> owned_keys;
    std::vector<std::string> duplicates;  // recipients that another parcel has served
    ledger::Journal::Ticket gate;         // of the note that it is under way
    ledger::Journal::Ticket settled;      // of its result
    bool requeue = false;                 // back to the queue when committed
    bool finished = false;                // of this message nothing is left
  };

  std::optional<ParcelQueue::Job> next_job();
  void deliver(const ParcelQueue::Job& job);
  // Makes the messages after the one in hand ready: ahead_, up to one that must wait (upcoming_).
  void prefetch();
  void look_up_together(std::vector<Attempt>& taken);
  // Nothing of it can have been accepted: takes back the note that it was under way.
  void clear_note(const Attempt& attempt);
  // Before any of its text was sent.
  void put_back(const Attempt& attempt);
  void put_back_ahead();
  const mail::Envelope& envelope_of(Attempt& attempt) const;
  void log_duplicates(const Attempt& attempt) const;
  Status prepare(Attempt& attempt);
  void plan(Attempt& attempt, const mail::Envelope& envelope);
  // Whether a message is given up if it is damaged: its time is over, and an earlier attempt, too,
  // found damage in its parcel.
  bool is_lost(const ParcelQueue::Job& job) const;
  Status check_text(const Attempt& attempt) const;
  // Of what cannot be prepared: at least its envelope.
  void rescue(Attempt& attempt, const Status& why);
  // Fails all that is not settled yet, and settles it.
  void give_up(Attempt attempt);
  Status open_reader();
  Status look_up(Attempt& attempt);
  bool has_work(const Attempt& attempt) const;
  void hand_over(Attempt attempt);
  smtp::Delivery transact(Attempt& attempt);
  void settle(Attempt attempt);
  NoticeSubject subject_of(const Attempt& attempt) const;
  // Takes over what the ledger knows as refused by an attempt that a crash cut short: told if
  // the report exists, else to be tried again.
  Status take_refused(const Attempt& attempt, NoticeKind kind,
                      const std::vector<RecipientState*>& refused);
  Status note_refused(const Attempt& attempt);
  Status write_notices(const Attempt& attempt);
  Status tell_postmaster(const Attempt& attempt);
  Status write_report(const Attempt& attempt, NoticeKind kind,
                      const std::vector<DsnRecipient>& recipients);
  void log_results(const Attempt& attempt) const;
  void unreadable(const ParcelQueue::Job& job, const Status& why);
  void mta_down(Attempt attempt, const Status& why);
  // While the host MTA is known to refuse connections only one worker tries: false for the others.
  bool claim_connection();
  // If it is closed. True: other workers have theirs.
  bool release_connection();
  // No work for this worker for so long: others go on with theirs.
  void rest(std::chrono::milliseconds time);

  // One operation: results that are not submitted yet, and notes for `current` and the next
  // messages unless they have one.
  void submit_journal(Attempt* current);
  // Waits for all of `pending_` to be on disk, again and again on trouble; false: stopping first.
  bool flush();
  // All whose results are on disk, in order. False: one could not be written, flush() tries again.
  bool complete_decided();
  void complete(Attempt attempt);
  ExpiryRule expiry(const ParcelQueue::Job& job) const;

  DeliveryShared& shared_;
  HostMta mta_;
  ledger::Journal& journal_;
  std::optional<ledger::Ledger> reader_;
  std::deque<Attempt> pending_;               // results not known to be on disk
  std::deque<Attempt> ahead_;                 // ready to be handed over, in this order
  std::optional<ParcelQueue::Job> upcoming_;  // taken, nothing done yet
  bool claimed_ = false;                      // one of shared_.connections
  std::uint64_t refusals_ = 0;                // of a connection, in a row, while others had theirs
  std::atomic<bool> interrupted_{false};
};

// The journal operation that makes `previous` final and notes `next` as under way; either may be
// absent. Public for tests.
ledger::Journal::Operation settle_operation(const std::string& peer, const std::string& parcel_id,
                                            std::uint64_t message,
                                            const std::vector<RecipientState>& states,
                                            TimePoint now, TimePoint retain_until);

}  // namespace bsmtp::mda
