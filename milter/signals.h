// Signals of bsmtp-milter, read by its main thread from one descriptor.
// libmilter starts a thread that waits for SIGHUP, SIGTERM and SIGINT and stops the filter in the
// middle of messages on each of them. We want SIGHUP to reload and SIGTERM to let messages
// finish, so signals.cc defines sigwait(), which libmilter's thread then calls: it waits as the
// standard says, but never for these three.
// Threads: block_signals() before the first one; the descriptor belongs to the main thread.
#pragma once

#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::milter {

// Blocks SIGHUP, SIGTERM and SIGINT for this thread and all it starts, ignores SIGPIPE, and
// returns a non-blocking signalfd for the three.
Result<UniqueFd> block_signals();
// The next pending signal number, 0 when none is.
int next_signal(const UniqueFd& signals);

}  // namespace bsmtp::milter
