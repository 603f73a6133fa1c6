// read_payload() in a child process that can only read the parcel and write records to a pipe
// (os/sandbox.h, relay.h). Inflating, MIME and the batch's grammar happen there; the manifest is
// judged, the handler is called and the counts are made here, from records that are not trusted.
// Call it while the process has one thread: the child goes on from a fork.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/bsmtp/parser.h"
#include "common/parcel/format.h"
#include "common/parcel/payload.h"

namespace bsmtp::parcel {

struct ConfinedPayload {
  Result<PayloadFacts> facts;  // as of read_payload()
  // The child crashed, did what it may not, or wrote what a sound one would not; `facts` is then
  // permanent. It would happen again: trying this parcel once more is of no use.
  bool died = false;
};

// `sandbox` is kAuto (with what the kernel offers, the pipe's checks and the limits in any case)
// or kOn (temporary 4.3.5 without both walls). A child that could not be made, or that was ended
// from outside, is temporary.
// `check_manifests` stands for the request's check_header.
using ManifestCheck = std::function<Status(const std::vector<std::string>&)>;
ConfinedPayload read_payload_confined(const PayloadRequest& request, Sandbox sandbox,
                                      const ManifestCheck& check_manifests,
                                      batch::Handler& handler);

}  // namespace bsmtp::parcel
