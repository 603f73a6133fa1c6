// What the socketmap answers: the decisions of the exported static map, asked from the engine
// address by address, so also for rules that no table can express.
// Guarantees: no rejection, whatever the rules say. For Postfix an address that no rule tunnels is
// kNotFound or, where a rule tunnels its neighbours, kept out of every later entry by "do not
// change"; for sendmail every address has an answer, so that silence never means "not tunneled".
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
//   transport    Postfix transport_maps: "TRANSPORT:NEXTHOP" as in the exported map; ":" for exempt
//                addresses and for exceptions below a tunneled domain. Keys that are not whole
//                addresses (a domain, ".domain", "user@", "*") are not found, since the look-up
//                of the whole address has decided
//   bsmtp_rules  sendmail, FEATURE(`bsmtp'): the diverted address as the milter would make it;
//                the peer's pseudo-domain alone for an address that is tunneled but may not be
//                diverted; else "direct". A key that is no address is kTemp
MapAnswer look_up_map(const Policy& policy, std::string_view name, std::string_view key);

}  // namespace bsmtp::milter
