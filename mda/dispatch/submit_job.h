// Submitting one ready parcel to the host MTA, and what follows from its answer: 250 -> sent,
// 4xx or a broken connection -> back-off in its state, 5xx or expiry -> a DSN to each inner
// sender, then failed. `submitting` is durable in the state before the first octet leaves, so a
// parcel that was perhaps taken before a crash is resubmitted and logged outcome=ambiguous (a
// peer with a ledger drops the copy; docs say so for the others).
// A parcel that awaits a receipt and may have left already is never failed by a refusal: only the
// peer's receipt or its silence decides (sent_job.h); a refusal then counts as a bounce.
// Failure: temporary trouble with our own disk; the parcel is then as it was.
// Threads: several jobs at once, each with its own connection.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/spool/parcel_dir.h"
#include "mda/dispatch/parcel_state.h"
#include "mda/notice/host_mta.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

struct SubmitContext {
  std::shared_ptr<const config::Config> config;
  const spool::Spool& spool;
  NoticeStore& notices;
  const Clock& clock;
};

struct SubmitResult {
  enum class Kind {
    kSent,
    kFailed,
    kDeferred,     // see `next`
    kUnreachable,  // no session with the host MTA: nothing was tried, all parcels wait
    kSplit,        // refused as a whole: its messages are to travel in smaller parcels
    kGone,         // someone else has it
  };
  Kind kind = Kind::kGone;
  TimePoint next{};
  Status why;
};

// Connects `mta` when needed.
Result<SubmitResult> submit_parcel(SubmitContext& context, const config::Peer& peer,
                                   const std::string& parcel_id, HostMta& mta);

// Does the end of this parcel depend on the peer's receipt?
inline bool awaits_receipt(const config::Peer& peer, const ParcelState& state) {
  return peer.wants_receipts() && state.receipt > 0;
}

// What `failing` says, for going on where a crash interrupted it.
Status noted_failure(const ParcelState& state);

// Tells the sender of every message in the parcel (as its NOTIFY wants it), then moves it to
// failed/. Safe to repeat: the first call's words are kept in the state, and state.failing_unknown
// makes them say that the outcome is not known.
Status fail_parcel(SubmitContext& context, spool::ParcelDir& parcel, ParcelState state,
                   const Status& why, const RemoteWord& word);

// May its messages have arrived by another copy than the one handed over last?
bool may_have_arrived(const ParcelState& state);
// One copy was refused: as fail_parcel(), but where `another` may have arrived the senders are
// told that nobody knows (4.4.0), and why this one was refused.
Status fail_copy(SubmitContext& context, spool::ParcelDir& parcel, ParcelState state, bool another,
                 const Status& why, const RemoteWord& word);

}  // namespace bsmtp::mda
