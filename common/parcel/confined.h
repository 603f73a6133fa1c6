// What parses a stranger's octets in a child process that can only read the parcel and write to a
// pipe (os/sandbox.h): read_payload(), whose events come as records (relay.h), and any work whose
// result is a short text (inspect.h). Inflating, MIME and the batch's grammar happen there; the
// manifest is judged, the handler is called and the counts are made here, from records that are
// not trusted. Call it while the process has one thread: the child goes on from a fork.
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

// What `work` writes in such a child, where it can read `file` and nothing else; at most `limit`
// octets. Not to be trusted. Permanent 5.6.0 when the child crashed or wrote more: it would happen
// again. `work` is never called outside the cage, and returns ok: what went wrong is for its text.
Result<std::string> run_confined(const os::File& file, Sandbox sandbox, std::size_t limit,
                                 const std::function<Status(Sink&)>& work);

}  // namespace bsmtp::parcel
