// The service around the filter: reads configuration and rules, opens the socket, serves, reloads
// on SIGHUP, and on SIGTERM or SIGINT stops taking connections, lets the messages under way finish
// (kDrainLimit at most) and leaves no socket behind.
// Guarantee: a reload that fails keeps the old rules and says so with file and line.
// Failure: a temporary Status when it cannot start; mail then waits with the MTA.
#pragma once

#include <chrono>
#include <string>

#include "common/base/status.h"

namespace bsmtp::milter {

// Longer than an SMTP client on a slow line takes for an ordinary message, shorter than the 90 s
// after which systemd kills. A second SIGTERM does not wait.
inline constexpr std::chrono::seconds kDrainLimit{30};

struct ServerOptions {
  std::string config_file;  // "" = the default
  bool foreground = false;  // log to stderr and stay; else become a daemon once the socket is open
};

// Returns when told to stop. libmilter's threads still exist then: the caller ends the process
// with std::_Exit(), as destroying what they use would be a race.
Status run_server(const ServerOptions& options);

}  // namespace bsmtp::milter
