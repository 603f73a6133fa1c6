// Submitting one ready parcel to the host MTA, and what follows from its answer: 250 -> sent,
// 4xx or a broken connection -> back-off in its state, 5xx or expiry -> a DSN to each inner
// sender, then failed. `submitting` is durable in the state before the first octet leaves, so a
// parcel that was perhaps taken before a crash is resubmitted and logged outcome=ambiguous (a
// peer with a ledger drops the copy; docs say so for the others).
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
    kGone,         // someone else has it
  };
  Kind kind = Kind::kGone;
  TimePoint next{};
  Status why;
};

// Connects `mta` when needed.
Result<SubmitResult> submit_parcel(SubmitContext& context, const config::Peer& peer,
                                   const std::string& parcel_id, HostMta& mta);

// Tells the sender of every message in the parcel (as its NOTIFY wants it), then moves it to
// failed/. Safe to repeat.
Status fail_parcel(SubmitContext& context, spool::ParcelDir& parcel, ParcelState state,
                   const Status& why, const std::string& diagnostic);

}  // namespace bsmtp::mda
