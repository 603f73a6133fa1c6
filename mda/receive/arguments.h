// The command line of bsmtp-in.
#pragma once

#include <string>

#include "common/base/status.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda {

struct ReceiveArguments {
  ReceiveRequest request;
  std::string config_file;  // "" = the default
  bool lmtp = false;        // a session; of the request only the peer is given
  bool done = false;        // --help or --version was answered
};

// Temporary 4.3.5 for every mistake: an admin's typo must not bounce mail.
Result<ReceiveArguments> parse_receive_arguments(int argc, const char* const* argv);

}  // namespace bsmtp::mda
