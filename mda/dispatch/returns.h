// Bounces of our parcels: mail to <user>+<token>@<host> that bsmtp-in kept in inbound/returns/.
// The token finds the parcel (ready, sent or failed); RFC 3464's Action decides: `failed` -> every
// inner sender gets a DSN and the parcel goes to failed/; anything else is logged. Where a receipt
// is awaited `failed` only brings the next copy forward, or makes the parcel smaller. What matches
// no parcel, is no delivery report or does not come from the null sender changes nothing: it is
// logged and dropped.
// Failure: temporary trouble of ours; the return stays for the next run. Threads: one at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/stream.h"
#include "mda/dispatch/acknowledge.h"
#include "mda/dispatch/parcel_lookup.h"
#include "mda/dispatch/resend_policy.h"
#include "mda/dispatch/submit_job.h"

namespace bsmtp::mda {

// The parts of a delivery report that matter here; "" where absent. `action` of several
// recipients: the first one (a parcel has exactly one).
struct ReturnReport {
  std::string action;      // lower case: failed, delayed, delivered, relayed, expanded
  std::string status;      // "5.1.1"
  std::string diagnostic;  // Diagnostic-Code without its type
  // Its type; "smtp" only where an SMTP reply follows.
  std::string diagnostic_type;
  std::string remote_mta;
  std::string reporting_mta;
  // At which stage of the SMTP session it was refused, as the human part tells (Postfix,
  // sendmail); the machine-readable part has no field for it.
  RefusedAt refused_at = RefusedAt::kUnknown;
};
// Reads multipart/report (RFC 6522) with a message/delivery-status part, at most 1 MiB;
// nullopt: it is none. Permanent never; temporary when the source fails.
Result<std::optional<ReturnReport>> parse_return(Source& plain_text);

// "bsmtp+<token>@host" -> token; "" when it is not our return address.
std::string return_token(const config::Config& config, std::string_view recipient);

// Handles everything in inbound/returns/. What came to a parcel's own address and is no report is
// shown to the postmaster. `tokens` is the same at every call.
Status handle_returns(SubmitContext& context, TokenIndex& tokens, TouchedParcels& touched);

}  // namespace bsmtp::mda
