// config check's look at the two SMTP listeners of the host MTA that bsmtp-dispatch speaks to:
// `submit` takes parcels, `resubmit` takes unpacked mail and must treat it as from a stranger.
// Speaks SMTP as far as RCPT and then RSET: no mail is sent. The MTA logs two refusals each time.
#pragma once

#include <chrono>
#include <string>

#include "common/config/config.h"
#include "mda/ctl/ctl_check.h"

namespace bsmtp::mda::ctl {

struct ListenerPatience {
  std::chrono::milliseconds connect{2000};
  std::chrono::milliseconds reply{15000};   // a greeting may be held back on purpose
  std::chrono::milliseconds refusal{1500};  // a refusal that takes longer is a tarpit
};

// A listener that cannot be reached is a warning: the MTA may be stopped just now.
void check_listeners(const config::Config& config, Findings& findings,
                     const ListenerPatience& patience = {});

}  // namespace bsmtp::mda::ctl
