// What the socketmap answers: the same decisions as the exported static map, asked from the engine
// address by address, so also for rules that no table can express.
// Guarantees: no rejection, whatever the rules say; an address that no rule tunnels is kNotFound
// or, where a rule tunnels its neighbours, kept out of every later entry by "do not change".
// Failure: a map name we do not serve is kTemp. Throws bad_alloc only. Threads: pure.
#pragma once

#include <string>
#include <string_view>

#include "common/socketmap/protocol.h"
#include "milter/policy.h"

namespace bsmtp::milter {

struct MapAnswer {
  socketmap::Answer answer = socketmap::Answer::kNotFound;
  std::string data;
};

// `name` is one of
//   transport  Postfix transport_maps: "TRANSPORT:NEXTHOP" as in the exported map; ":" for exempt
//              addresses and for exceptions below a tunneled domain
//   bsmtp      sendmail, the map of FEATURE(`bsmtp'): the peer's pseudo-domain, "direct" likewise
// Keys that are not whole addresses (a domain, ".domain", "user@", "*") are not found, since the
// look-up of the whole address has decided; only sendmail's ".bsmtp.invalid" says "tunnel", the
// sign that the map is there.
MapAnswer look_up_map(const Policy& policy, std::string_view name, std::string_view key);

}  // namespace bsmtp::milter
