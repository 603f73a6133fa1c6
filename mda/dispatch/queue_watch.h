// QueueWatch: what must happen because mail waits too long in this host's own spool, whatever the
// reason: the postmaster hears of a peer whose mail is late (alarm-age), each sender once of the
// delay (delay-warning, as NOTIFY allows; also when its parcel was handed over and has no receipt),
// and in the end (delivery-expire after the message's
// arrival) that it failed. One peer after the other, some messages of each at a time.
// All notices have ids made from the message, so a restart tells nobody twice.
// Failure: the first trouble, after the other peers were looked at. Threads: one at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "mda/dispatch/submit_job.h"

namespace bsmtp::mda {

// One peer's queue as the dispatcher's thread knows it. watch() fills in `warned`.
struct PeerBacklog {
  struct Parcel {
    std::string id;
    TimePoint warned{};  // messages that arrived until then are done
  };
  std::string peer;
  std::uint64_t messages = 0;
  std::uint64_t octets = 0;
  std::size_t parcels = 0;
  std::optional<TimePoint> late_since;
  std::vector<std::string> delayed;  // items in incoming/, oldest first
  std::vector<std::string> expired;  // likewise
  std::vector<Parcel> ready;
  std::vector<std::string> unconfirmed;  // parcels in sent/ that have been there for delay-warning
  bool more = false;                     // there are more than these
  std::string warned;                    // last item of `delayed` that is done
};

class QueueWatch {
 public:
  Status watch(SubmitContext& context, std::vector<PeerBacklog>& peers);

 private:
  Status watch_peer(SubmitContext& context, PeerBacklog& peer);
  Status raise_alarm(SubmitContext& context, const PeerBacklog& peer, TimePoint since);
  Status warn_waiting(SubmitContext& context, PeerBacklog& peer);
  Status warn_ready(SubmitContext& context, const std::string& peer, PeerBacklog::Parcel& parcel);
  Status warn_sent(SubmitContext& context, const std::string& peer, const std::string& parcel);

  std::map<std::string, TimePoint> alarmed_;  // peer -> when
};

// Fails the messages of `dir` (in building/) that arrived at least `lifetime` ago: their senders
// are told, then their files removed. `in_doubt`: the host MTA may have taken them, so they are
// told that nobody knows. Safe to repeat with the same answer to that.
Status expire_items(SubmitContext& context, spool::ParcelDir& dir, std::chrono::seconds lifetime,
                    bool in_doubt = false);
// The same for items in incoming/; what was claimed meanwhile is left alone.
Status expire_waiting(SubmitContext& context, const std::string& peer,
                      const std::vector<std::string>& items);

}  // namespace bsmtp::mda
