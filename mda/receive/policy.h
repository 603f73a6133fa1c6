// From the configuration to what parcel::open() and the quarantine want to be told: one place,
// so that bsmtp-in and `bsmtpctl parcel verify` cannot judge differently.
#pragma once

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/crypto/openpgp.h"
#include "common/os/file_ops.h"
#include "common/parcel/opener.h"
#include "common/spool/quarantine.h"

namespace bsmtp::mda {

// The verify home with the keys of all peers that are not off. Every pin must be loadable.
Result<crypto::Verifier> open_verifier(const config::Config& config);

// Everything but file and transport_peer. Ops, verifier and clock must outlive the request.
parcel::OpenRequest open_request(os::FileOps& ops, const config::Config& config,
                                 crypto::Verifier& verifier, const Clock& clock);
parcel::Limits parcel_limits(const config::Config& config);
parcel::Sandbox parcel_sandbox(const config::Config& config);

// The enhanced status code that stands for a verdict: 5.7.x trust, 5.6.0 form, 5.3.4 size.
const char* reject_code(parcel::Reject reason);

}  // namespace bsmtp::mda
