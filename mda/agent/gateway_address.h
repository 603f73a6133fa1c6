// Addresses that belong to the tunnel itself: private ones below bsmtp.invalid, and the parcel and
// return addresses of this gateway and its peers. No letter's author has one.
// Threads: pure functions.
#pragma once

#include <string_view>

#include "common/config/config.h"

namespace bsmtp::mda {

// <user>@<host> or <user>+token@<host> of this gateway or of a peer, quoted or not.
bool is_gateway_address(const config::Config& config, std::string_view address);
// Such a one, or one of a pseudo-domain: a report to it would go into a tunnel, or be taken for the
// bounce of a parcel.
bool is_tunnels_own(const config::Config& config, std::string_view address);

}  // namespace bsmtp::mda
