// What a peer may have delivered here: sender domains, recipient domains, split horizon and hop
// limit, decided per message and recipient (RFC 2442 and issue: a refusal costs that message
// only, never the parcel). The answers go into the accepted parcel's meta; the dispatcher turns
// them into DSNs. Pure but for the route look-up the caller supplies. Threads: const.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"
#include "common/mail/envelope.h"
#include "common/spool/accepted.h"

namespace bsmtp::mda {

// The peer to which this host would send mail for `domain` through the tunnel, "" = none.
using RouteLookup = std::function<std::string(std::string_view domain)>;

// Refusals of one message; empty = deliver to all. `received` is the number of its Received
// fields. One with recipient 0 stands alone.
std::vector<spool::AcceptedRefusal> authorise(const config::Config& config,
                                              const config::Peer& peer,
                                              const mail::Envelope& envelope,
                                              std::uint64_t received, const RouteLookup& route);

}  // namespace bsmtp::mda
