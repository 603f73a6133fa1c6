// Outbound: the outbound half of the dispatcher as one thread sees it: per peer what waits, what
// is being built, what is ready; which batch closes when; who gets the next free worker. Peers
// take turns, so none blocks another. The work itself is done by pools (build_job, submit_job).
// Failure: trouble with one peer postpones that peer; trouble with the host MTA postpones all
// submissions; nothing is lost by either. Parcels of peers with receipts stay in its mind while
// they are in sent/: their times are kept in memory, their files read when one is due.
// Threads: all functions from one thread; results of
// workers come back through the Mailbox and run there.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/crypto/openpgp.h"
#include "common/spool/heartbeat.h"
#include "common/spool/spool.h"
#include "mda/dispatch/batch_policy.h"
#include "mda/dispatch/due_index.h"
#include "mda/dispatch/mailbox.h"
#include "mda/dispatch/queue_watch.h"
#include "mda/dispatch/sent_job.h"
#include "mda/dispatch/submit_job.h"
#include "mda/dispatch/waiting_index.h"
#include "mda/dispatch/worker_pool.h"

namespace bsmtp::mda {

// Gives the items of abandoned parcels back to incoming/; parcels in work are left alone.
Status recover_peer(const spool::Spool& spool, const std::string& peer);

class Outbound {
 public:
  // All references must outlive it. `peers`: names to work for (configured, not off).
  Outbound(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
           NoticeStore& notices, const Clock& clock, Mailbox& mailbox,
           const std::vector<std::string>& peers);
  ~Outbound();
  Outbound(const Outbound&) = delete;
  Outbound& operator=(const Outbound&) = delete;

  // Reads incoming/ and ready/ of all peers anew. The names only: the items are looked at in
  // tick(), oldest first and some of each peer at a time, so that a peer with few of them need
  // not wait until 10^5 of another one were.
  Status scan();
  // One peer's abandoned parcels go back to incoming/.
  Status recover();
  void item_arrived(const std::string& peer, const std::string& id);
  void item_left(const std::string& peer, const std::string& id);
  void parcel_arrived(const std::string& peer, const std::string& id);  // in ready/
  void parcel_left(const std::string& peer, const std::string& id);
  void sent_arrived(const std::string& peer, const std::string& id);  // in sent/
  void sent_left(const std::string& peer, const std::string& id);
  // Its state was changed by somebody else (a bounce, an admin).
  void parcel_touched(const std::string& peer, const std::string& id);
  // Until this was called nothing is sent again: receipts that came meanwhile are applied first.
  // True for the first call.
  bool begin_reviews() { return !std::exchange(reviews_, true); }
  // A receipt of this peer was applied.
  void receipt_came(const std::string& peer);
  // What waits now is built now, and what is ready submitted now, whatever the back-off.
  void flush(const std::string& peer);

  // Starts all that is due and finds a free worker; returns when to come again at the latest.
  std::optional<TimePoint> tick();
  // No job is running (after tick(): and none is due).
  bool idle() const { return building_ == 0 && submitting_ == 0; }
  // All that scan() found has been looked at.
  bool scanned() const;
  // Since the last call messages came back from a parcel that could not be built.
  bool take_given_back() { return std::exchange(given_back_, false); }
  // Something due could not be done since the start.
  bool had_trouble() const { return trouble_; }
  // Per peer since when its mail is late: past max-age unbuilt, or built and not handed over.
  std::map<std::string, TimePoint> late_since() const;
  // Peers for which as much waits as may wait, since when; as of the last tick().
  std::map<std::string, TimePoint> full_since() const;
  // What QueueWatch is to look at now, for every peer; watched() takes back what it did.
  std::vector<PeerBacklog> backlog() const;
  void watched(const std::vector<PeerBacklog>& done);
  void stop(std::chrono::milliseconds grace);

 private:
  struct Ready {
    TimePoint next{};
    TimePoint created{};
    bool in_work = false;
    TimePoint warned{};  // its messages that arrived until then: their senders know of the delay
    bool again = false;  // it left before: not mail that is late
  };
  struct Queue {
    const config::Peer* peer = nullptr;
    WaitingIndex waiting;
    std::vector<std::string> unseen;  // names of a scan that are not yet in `waiting`, oldest last
    std::map<std::string, Ready> ready;
    std::set<std::string> building;  // ids of ours: locked until their job has ended
    // Peers with receipts: parcels in sent/ that await one, names of a scan not yet looked at, and
    // parcels whose messages are to travel in smaller ones, with the time of the next attempt.
    DueIndex sent;
    std::vector<std::string> unseen_sent;
    std::set<std::string> reviewing;
    std::string in_the_way;  // the oldest in `sent`, while mail waits for a receipt
    std::map<std::string, TimePoint> splits;
    bool splitting = false;  // a split is in work: its new parcels are still locked
    bool receipts_seen = false;
    std::set<std::string> unconfirmed;  // in sent/ for delay-warning: their senders know
    TimePoint hold_told{};              // the last alarm about parcels that are held
    TimePoint flush_until{};            // items that arrived until then are built at once
    TimePoint build_not_before{};       // after trouble
    std::uint64_t build_failures = 0;
    std::optional<TimePoint> full;  // since when its quota is used up
    std::string warned;             // items up to this id: their senders know of the delay
  };

  Status scan_incoming(const std::string& peer, Queue& queue);
  void scan_on(TimePoint now, std::optional<TimePoint>& due);
  Status scan_ready(const std::string& peer, Queue& queue);
  Status scan_sent(const std::string& peer, Queue& queue);
  void tell_of_hold(const std::string& peer, Queue& queue);
  static void find_in_the_way(Queue& queue);
  void tick_sent(TimePoint now, std::optional<TimePoint>& due);
  void start_review(const std::string& name, Queue& queue, const std::string& parcel);
  void review_done(const std::string& name, const std::string& parcel,
                   const Result<SentResult>& result);
  bool start_split(const std::string& name, Queue& queue, TimePoint now,
                   std::optional<TimePoint>& due);
  void split_done(const std::string& name, const std::string& parcel,
                  const Result<std::size_t>& result);
  static std::uint64_t unacked(const Queue& queue);
  BatchDecision decide(const Queue& queue, TimePoint now) const;
  void tick_builds(TimePoint now, std::optional<TimePoint>& due);
  void tick_submissions(TimePoint now, std::optional<TimePoint>& due);
  static void note_quota(const std::string& name, Queue& queue, TimePoint now);
  std::vector<std::string> unconfirmed(const Queue& queue, TimePoint now) const;
  bool space_is_low(TimePoint now, std::optional<TimePoint>& due);
  bool start_build(const std::string& name, Queue& queue, BatchDecision decision);
  void build_done(const std::string& name, const std::string& parcel, const Result<bool>& built);
  void start_submission(const std::string& name, Queue& queue, const std::string& parcel);
  void submission_done(const std::string& name, const std::string& parcel,
                       const Result<SubmitResult>& result);

  std::shared_ptr<const config::Config> config_;
  const spool::Spool& spool_;
  NoticeStore& notices_;
  const Clock& clock_;
  Mailbox& mailbox_;
  std::map<std::string, Queue> queues_;
  std::string last_built_;  // peers take turns
  std::string last_submitted_;
  std::size_t building_ = 0;
  std::size_t submitting_ = 0;
  std::uint64_t unreachable_ = 0;  // in a row
  TimePoint submit_not_before_{};
  TimePoint space_checked_{};
  bool space_low_ = false;
  bool trouble_ = false;
  bool given_back_ = false;
  bool reviews_ = false;
  std::vector<std::optional<crypto::Signer>> signers_;  // one per build worker
  std::vector<std::unique_ptr<HostMta>> mtas_;          // one per submit worker
  WorkerPool builders_;
  WorkerPool submitters_;  // last: their tasks use what stands above
};

}  // namespace bsmtp::mda
