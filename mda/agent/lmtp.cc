#include "mda/agent/lmtp.h"

#include <malloc.h>
#include <unistd.h>

#include <utility>

#include "common/os/fd_stream.h"

namespace bsmtp::mda {
namespace {

// More than the buffers of one message: what one gives back the next takes, without a system call
// and a page fault for each page.
constexpr int kKeptHeap = 1 << 20;

}  // namespace

Status serve_standard_streams(lmtp::Handler& handler, lmtp::Options options,
                              const AgentOptions& agent, std::chrono::seconds limit) {
  ::mallopt(M_TRIM_THRESHOLD, kKeptHeap);
  options.on_step = [&agent, limit] { set_deadline(agent, limit); };
  os::FdSource in(STDIN_FILENO, "standard input");
  os::UnbufferedFdSink out(STDOUT_FILENO, "standard output");
  return lmtp::serve(in, out, handler, options);
}

}  // namespace bsmtp::mda
