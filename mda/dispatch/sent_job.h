// Parcels in sent/ of a peer with receipts: what is done when their time has come (resend_policy.h
// decides), and what bounces and admins change about them. Every step is one durable rename of
// `state`, then at most one of the parcel; each may be repeated after a crash.
// Failure: temporary trouble of ours; the parcel is as it was. Threads: several jobs at once,
// each with its own parcel.
#pragma once

#include <optional>
#include <string>

#include "mda/dispatch/resend_policy.h"
#include "mda/dispatch/submit_job.h"

namespace bsmtp::mda {

// What the dispatcher knows that does not stand in the parcel's state.
struct Circumstances {
  bool receipts_seen = false;  // this peer has sent a receipt before
  bool in_the_way = false;     // mail waits because this parcel, its peer's oldest, has no receipt
};

// `in_the_way`: silence then lasts no longer than a receipt under way may take.
ResendTimes resend_times(const config::Config& config, bool in_the_way = false);

struct SentResult {
  enum class Kind {
    kWait,   // see `next`; TimePoint::max(): only an event changes it
    kMoved,  // to ready/ or failed/
    kSplit,  // its messages are to travel in smaller parcels
    kHeld,   // as of now a human has to decide
    kGone,   // it is not there, someone works on it, or no receipt is awaited
  };
  Kind kind = Kind::kGone;
  TimePoint next{};
};

// Looks at one parcel in sent/ and does what is due.
Result<SentResult> review_sent(SubmitContext& context, const config::Peer& peer,
                               const std::string& parcel_id, Circumstances known);

// The same entity goes to the host MTA again: sent -> ready. `counted`: because of silence.
Status resend_parcel(spool::ParcelDir& parcel, ParcelState& state, std::string_view why,
                     bool counted);

// Notes that the copy handed over last came back; the caller writes the state.
void note_bounce(ParcelState& state, const ResendTimes& times, TimePoint now);

}  // namespace bsmtp::mda
