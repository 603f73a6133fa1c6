#include "mda/agent/lmtp.h"

#include <unistd.h>

#include <utility>

#include "common/os/fd_stream.h"

namespace bsmtp::mda {

Status serve_standard_streams(lmtp::Handler& handler, lmtp::Options options,
                              const AgentOptions& agent, std::chrono::seconds limit) {
  options.on_step = [&agent, limit] { set_deadline(agent, limit); };
  os::FdSource in(STDIN_FILENO, "standard input");
  os::UnbufferedFdSink out(STDOUT_FILENO, "standard output");
  return lmtp::serve(in, out, handler, options);
}

}  // namespace bsmtp::mda
