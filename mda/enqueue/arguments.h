// The command line of bsmtp-out. Values that come from mail (sender, ids, recipients) are taken
// out before the option parser sees them: a sender named "--peer=x@y" or "" is a value, whatever
// it looks like.
#pragma once

#include <string>

#include "common/base/status.h"
#include "mda/enqueue/enqueue.h"

namespace bsmtp::mda {

struct EnqueueArguments {
  EnqueueRequest request;
  std::string config_file;  // "" = the default
  bool lmtp = false;        // a session; of the request only the peer is given
  bool done = false;        // --help or --version was answered
};

// Temporary 4.3.5 for every mistake: an admin's typo must not bounce mail.
Result<EnqueueArguments> parse_arguments(int argc, const char* const* argv);

}  // namespace bsmtp::mda
