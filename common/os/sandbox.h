// The cage of a child process that works on a stranger's octets: from enter_sandbox() on it can
// compute, use the descriptors that it has, and end; it cannot open, connect, execute, signal or
// start another process. Two walls of the kernel, each enough for most: Landlock (no file, no TCP
// port; kernel 5.13 and later) and a seccomp filter (a list of allowed system calls; all others
// end the process by SIGSYS); limits of memory, processor time and file size beside them.
// Kept out of builds with sanitizers, whose run-time needs more than the list allows: there the
// kernel counts as offering neither.
// Threads: called in a child with one thread; threads started later are in the cage, too.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::os {

struct SandboxSupport {
  bool landlock = false;
  bool seccomp = false;
  bool complete() const { return landlock && seccomp; }
  // "Landlock", "seccomp", "Landlock and seccomp" or "".
  std::string missing() const;
};
// What kernel and build offer; asks only.
SandboxSupport sandbox_support();

struct SandboxRules {
  std::vector<int> keep;                // descriptors that stay open; all others are closed
  std::uint64_t memory = 1ULL << 30U;   // octets of address space
  std::chrono::seconds processor{120};  // then SIGXCPU
};

// For good. Uses the walls that `support` names, and fails (temporary) when one of them, or a
// limit, cannot be had.
Status enter_sandbox(const SandboxRules& rules, const SandboxSupport& support);

}  // namespace bsmtp::os
