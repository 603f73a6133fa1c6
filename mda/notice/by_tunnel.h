// A notice that the host MTA cannot carry because its reader's address is not ASCII and the MTA has
// no SMTPUTF8 (sendmail). Where the exported map leads the address into a tunnel the MTA would only
// have handed the notice to bsmtp-out; it is spooled for that peer without the MTA.
// May not: decide about a notice that the MTA can carry, or about any other mail.
#pragma once

#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/spool/item.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

// Durably spools a copy of `notice` for the peer that serves its (one) recipient: "queued as ITEM
// for PEER". "" when no tunnel that is open leads there: then nobody can be told. Temporary when
// the map or the spool cannot be used.
Result<std::string> send_by_tunnel(const config::Config& config, const spool::Spool& spool,
                                   const spool::ItemReader& notice, TimePoint now);

}  // namespace bsmtp::mda
