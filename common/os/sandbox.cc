#include "common/os/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include "common/base/unique_fd.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BSMTP_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BSMTP_SANITIZED 1
#endif

// Elsewhere numbers and conventions of the calls were not looked at: no seccomp.
#if defined(__x86_64__)
#define BSMTP_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define BSMTP_AUDIT_ARCH AUDIT_ARCH_AARCH64
#endif

namespace bsmtp::os {
namespace {

Status failed(const char* what) {
  return Status::from_errno(std::string("sandbox: ") + what, errno);
}

// --- Landlock -----------------------------------------------------------------------------------
// Numbers and layout of linux/landlock.h, of which Debian 12 knows only the first two versions.
constexpr long kCreateRuleset = 444;
constexpr long kRestrictSelf = 446;
constexpr unsigned kRulesetVersion = 1;

struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;  // from version 4 on
  std::uint64_t scoped = 0;              // from version 6 on
};

long landlock_version() {
  return ::syscall(kCreateRuleset, nullptr, 0, kRulesetVersion);
}

// A ruleset that names every right and grants none.
Status enter_landlock() {
  const long version = landlock_version();
  if (version < 1) {
    return failed("landlock_create_ruleset");
  }
  constexpr std::array<unsigned, 5> kFileRights = {13, 14, 15, 15, 16};  // bits, by version
  const std::size_t last = kFileRights.size();
  const unsigned bits =
      kFileRights[std::min<std::size_t>(static_cast<std::size_t>(version), last) - 1];
  RulesetAttributes attributes;
  std::size_t size = sizeof attributes.handled_access_fs;
  attributes.handled_access_fs = (std::uint64_t{1} << bits) - 1;
  if (version >= 4) {
    attributes.handled_access_net = 3;  // bind, connect
    size = 2 * sizeof attributes.handled_access_fs;
  }
  if (version >= 6) {
    attributes.scoped = 3;  // abstract unix sockets, signals
    size = sizeof attributes;
  }
  const UniqueFd ruleset(static_cast<int>(::syscall(kCreateRuleset, &attributes, size, 0)));
  if (!ruleset.valid()) {
    return failed("landlock_create_ruleset");
  }
  return ::syscall(kRestrictSelf, ruleset.get(), 0) == 0 ? Status::ok()
                                                         : failed("landlock_restrict_self");
}

// --- seccomp ------------------------------------------------------------------------------------
#ifdef BSMTP_AUDIT_ARCH

// Reading and writing what is open; memory; threads of our own; time; the end.
constexpr std::array kAllowed = {
    SYS_read,
    SYS_pread64,
    SYS_write,
    SYS_lseek,
    SYS_close,
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_futex,
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigreturn,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_clock_gettime,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_set_robust_list,
    SYS_restart_syscall,
    SYS_getrandom,
#ifdef SYS_rseq
    SYS_rseq,
#endif
};

constexpr std::uint32_t kThreadFlags = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;

class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    unless_equal(BSMTP_AUDIT_ARCH, SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
    for (const long number : kAllowed) {
      when_equal(number, SECCOMP_RET_ALLOW);
    }
    // glibc then takes clone, whose flags a filter can see.
    when_equal(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    when_argument(SYS_clone, 0, kThreadFlags, kThreadFlags);
    when_argument(SYS_mmap, 2, PROT_EXEC, 0);
    when_argument(SYS_mprotect, 2, PROT_EXEC, 0);
    add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  }
  sock_fprog program() { return {static_cast<unsigned short>(steps_.size()), steps_.data()}; }

 private:
  void add(unsigned code, std::uint32_t k, unsigned if_true = 0, unsigned if_false = 0) {
    steps_.push_back({static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(if_true),
                      static_cast<std::uint8_t>(if_false), k});
  }
  void load(std::size_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
  }
  void unless_equal(std::uint32_t value, std::uint32_t action) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    add(BPF_RET | BPF_K, action);
  }
  void when_equal(long number, std::uint32_t action) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1);
    add(BPF_RET | BPF_K, action);
  }
  // Allows the call when the lower half of its argument has `value` in the bits of `mask`. All of
  // them are flags below 2^32 (the machines here are little-endian).
  void when_argument(long number, unsigned argument, std::uint32_t mask, std::uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 5);
    load(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
    add(BPF_ALU | BPF_AND | BPF_K, mask);
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  }

  std::vector<sock_filter> steps_;
};

[[maybe_unused]] bool offers_seccomp() {
  const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

Status enter_seccomp() {
  Filter filter;
  const sock_fprog program = filter.program();
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? Status::ok()
                                                                     : failed("seccomp");
}

#else

[[maybe_unused]] bool offers_seccomp() {
  return false;
}
Status enter_seccomp() {
  return Status::temporary("4.3.5", "sandbox: no seccomp filter for this machine");
}

#endif

// --- the rest -----------------------------------------------------------------------------------

// `grace`: of the hard limit, which for processor time kills instead of telling why.
Status limit(__rlimit_resource resource, std::uint64_t value, const char* what,
             std::uint64_t grace = 0) {
  struct rlimit limits {};
  if (::getrlimit(resource, &limits) != 0) {
    return failed(what);
  }
  limits = {std::min<rlim_t>(value, limits.rlim_max),
            std::min<rlim_t>(value + grace, limits.rlim_max)};
  return ::setrlimit(resource, &limits) == 0 ? Status::ok() : failed(what);
}

Status close_range(unsigned from, unsigned to) {
  if (from > to || ::syscall(SYS_close_range, from, to, 0) == 0) {
    return Status::ok();
  }
  if (errno != ENOSYS) {
    return failed("close_range");
  }
  // Kernels before 5.9. Whoever may have more descriptors than this has raised the limit himself.
  constexpr unsigned kMost = 4096;
  for (unsigned fd = from; fd <= std::min(to, kMost); ++fd) {
    ::close(static_cast<int>(fd));
  }
  return Status::ok();
}

Status close_others(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (const int fd : keep) {
    const auto kept = static_cast<unsigned>(fd);
    TRY(kept > from ? close_range(from, kept - 1) : Status::ok());
    from = kept + 1;
  }
  return close_range(from, ~0U);
}

}  // namespace

std::string SandboxSupport::missing() const {
  if (landlock) {
    return seccomp ? "" : "seccomp";
  }
  return seccomp ? "Landlock" : "Landlock and seccomp";
}

SandboxSupport sandbox_support() {
#ifdef BSMTP_SANITIZED
  return {};
#else
  return {landlock_version() >= 1, offers_seccomp()};
#endif
}

Status enter_sandbox(const SandboxRules& rules, const SandboxSupport& support) {
  TRY(close_others(rules.keep));
#ifndef BSMTP_SANITIZED
  TRY(limit(RLIMIT_AS, rules.memory, "memory limit"));
#endif
  TRY(limit(RLIMIT_CPU, static_cast<std::uint64_t>(rules.processor.count()), "time limit", 5));
  TRY(limit(RLIMIT_CORE, 0, "core limit"));
  TRY(limit(RLIMIT_FSIZE, 0, "file limit"));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return failed("no_new_privs");
  }
  if (support.landlock) {
    TRY(enter_landlock());
  }
  TRY(limit(RLIMIT_NOFILE, 0, "descriptor limit"));
  return support.seccomp ? enter_seccomp() : Status::ok();
}

}  // namespace bsmtp::os
