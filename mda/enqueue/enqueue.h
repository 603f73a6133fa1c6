// bsmtp-out's work: one message on standard input, one peer, its recipients -> one durable item
// in peers/<peer>/incoming. Decides which peer, undoes the diverted recipient form and refuses
// what must not be taken (stalled dispatcher, full disk, loops, octets mail cannot carry).
// May not: read keys or rewrite rules, link crypto, open sockets.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/config/config.h"
#include "common/mail/envelope.h"
#include "common/os/file_ops.h"
#include "common/spool/item.h"
#include "common/spool/paths.h"

namespace bsmtp::mda {

// The command line as the MTA gave it.
struct EnqueueRequest {
  std::string peer;      // name or pseudo-domain; "" = from the recipients or the exported map
  std::string queue_id;  // the MTA's, for the log
  std::string envid;     // decoded form as sendmail's ${dsn_envid} gives it; "" = none
  std::string ret;       // FULL, HDRS in any case, or ""
  std::string sender;    // "" = null reverse-path
  std::vector<std::string> recipients;
};

struct ResolvedEnvelope {
  std::string peer;  // name
  mail::Envelope envelope;
};

// Peer and real recipients. All failures are temporary: a routing mistake of the admin (another
// peer's pseudo-domain, unknown peer, peer off) must not bounce mail. Only an address that cannot
// be written as a command is permanent, later.
Result<ResolvedEnvelope> resolve_envelope(const config::Config& config,
                                          const EnqueueRequest& request);

// Where an item of this peer is made and what its text may not be.
spool::ItemWriter::Options item_options(const config::Config& config, const spool::Paths& paths,
                                        const std::string& peer, const std::string& id);

struct EnqueueHooks {
  os::FileOps* ops = nullptr;             // default: the kernel
  const Clock* clock = nullptr;           // default: the machine's
  std::function<Status()> before_rename;  // parent check
};

// Reads `message` to its end. ok = durable. Anything else: nothing was taken.
Status enqueue(const config::Config& config, const EnqueueRequest& request, Source& message,
               const EnqueueHooks& hooks);

}  // namespace bsmtp::mda
