// Applying what peers say about our parcels: the records in inbound/receipts/ that bsmtp-in made
// from signed receipts. A line counts only when the parcel was sent to that very peer and its
// digest is the same; then `accepted` removes the parcel, `rejected` and `expired` tell its
// senders. Everything else changes nothing and is logged. A record may be applied twice.
// Failure: temporary trouble of ours, or a parcel that is being worked on: the record stays for
// the next run. Threads: one at a time.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "common/spool/receipt_record.h"
#include "mda/dispatch/parcel_lookup.h"
#include "mda/dispatch/submit_job.h"

namespace bsmtp::mda {

// Parcels (peer, id) whose state was changed in place: whoever keeps their times must look again.
using TouchedParcels = std::set<std::pair<std::string, std::string>>;

// What one line of a receipt does to the parcel it names. Pure. `state`: null when there is none.
enum class AnswerStep {
  kNoSuchParcel,
  kOtherDigest,
  kNotAsked,  // this peer's receipts are not wanted (any more)
  kRemove,    // it has arrived
  kFail,      // it surely was not delivered
  kTooLate,   // the senders were told already: only a human can put that right
  kKnown,     // it failed, and the peer says so too
};
std::string_view answer_step_name(AnswerStep step);
AnswerStep judge_answer(const spool::ParcelAnswer& answer, const config::Peer& peer,
                        spool::Stage stage, const ParcelState* state);

// Everything in inbound/receipts/.
Status handle_receipts(SubmitContext& context);

}  // namespace bsmtp::mda
