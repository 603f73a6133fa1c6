#include "common/parcel/confined.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/os/fd_stream.h"
#include "common/os/sandbox.h"
#include "common/parcel/counting_handler.h"
#include "common/parcel/relay.h"

namespace bsmtp::parcel {
namespace {

constexpr int kPipeOctets = 256 * 1024;
constexpr std::chrono::milliseconds kTurn{2};
constexpr int kTurns = 2500;

Result<PayloadFacts> read_guarded(const PayloadRequest& request, batch::Handler& handler) {
  try {
    return read_payload(request, handler);
  } catch (const std::bad_alloc&) {
    return Status::temporary("4.3.0", "out of memory while a parcel was parsed");
  }
}

// What the child does: it is told whether it is in the cage, and writes to its pipe.
using Work = std::function<Status(const Status& caged, Sink& pipe)>;

[[noreturn]] void run_child(const os::File& file, int out, const os::SandboxSupport& support,
                            pid_t parent, const Work& work) {
  // Who is killed while he waits for us leaves nobody to read.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(1);
  }
  os::UnbufferedFdSink pipe(out, "the pipe of the parser");
  os::SandboxRules rules;
  rules.keep = {file.fd(), out};
  const Status caged = os::enter_sandbox(rules, support);
  ::_exit(work(caged, pipe).is_ok() ? 0 : 1);
}

Status relay_payload(const PayloadRequest& request, const Status& caged, Sink& pipe) {
  RelayWriter relay(pipe);
  if (!caged.is_ok()) {
    return relay.end(caged);
  }
  PayloadRequest inside = request;
  inside.check_header = [&](const mail::EntityHeader& header) {
    return relay.header(manifests_of(header));
  };
  const auto facts = read_guarded(inside, relay);
  return facts.is_ok() ? relay.end(facts->plain_bytes) : relay.end(facts.status());
}

class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      end();
    }
  }

  // Nobody else may take the child's end away.
  Status start(const os::File& file, const os::SandboxSupport& support, const Work& work) {
    struct sigaction action {};
    if (::sigaction(SIGCHLD, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
      ::signal(SIGCHLD, SIG_DFL);
    }
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return Status::from_errno("a pipe for the parser", errno);
    }
    from_.reset(ends[0]);
    UniqueFd to(ends[1]);
    ::fcntl(to.get(), F_SETPIPE_SZ, kPipeOctets);
    const pid_t self = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      run_child(file, to.get(), support, self, work);
    }
    return pid_ > 0 ? Status::ok() : Status::from_errno("a process for the parser", errno);
  }
  int output() const { return from_.get(); }

  void end() {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  // Its wait status, when it ends by itself within a moment: it has closed its pipe.
  std::optional<int> ended() {
    for (int turn = 0; turn < kTurns; ++turn) {
      int status = 0;
      const pid_t found = ::waitpid(pid_, &status, WNOHANG);
      if (found == pid_) {
        pid_ = -1;
        return status;
      }
      if (found < 0 && errno != EINTR) {
        break;
      }
      std::this_thread::sleep_for(kTurn);
    }
    return std::nullopt;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd from_;
};

// Signals that a process brings upon itself; any other came from outside.
bool is_own_fault(int signal) {
  for (const int own : {SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGXCPU}) {
    if (signal == own) {
      return true;
    }
  }
  return false;
}

// Temporary 4.3.5 when `sandbox` demands walls that are not there.
Status check_walls(Sandbox sandbox, const os::SandboxSupport& support) {
  if (sandbox != Sandbox::kOn || support.complete()) {
    return Status::ok();
  }
  return Status::temporary("4.3.5", str_cat({"sandbox = on, but there is no ", support.missing(),
                                             " here; install a kernel that has it, or choose "
                                             "sandbox = auto"}));
}

ConfinedPayload judge_end(const std::optional<int>& status) {
  if (status && WIFSIGNALED(*status) && is_own_fault(WTERMSIG(*status))) {
    return {Status::permanent(
                "5.6.0", str_cat({"the parser died on it (", ::strsignal(WTERMSIG(*status)), ")"})),
            true};
  }
  if (status && WIFSIGNALED(*status)) {
    return {Status::temporary(
                "4.3.0", str_cat({"the process that parses was ended by signal ",
                                  std::to_string(WTERMSIG(*status)), "; is there enough memory?"})),
            false};
  }
  return {Status::permanent("5.6.0", "the parser ended before the parcel did"), true};
}

}  // namespace

ConfinedPayload read_payload_confined(const PayloadRequest& request, Sandbox sandbox,
                                      const ManifestCheck& check_manifests,
                                      batch::Handler& handler) {
  const os::SandboxSupport support = os::sandbox_support();
  if (Status status = check_walls(sandbox, support); !status.is_ok()) {
    return {status, false};
  }
  Child child;
  const Work work = [&request](const Status& caged, Sink& pipe) {
    return relay_payload(request, caged, pipe);
  };
  if (Status status = child.start(request.file, support, work); !status.is_ok()) {
    return {status, false};
  }
  os::FdSource source(child.output(), "the pipe of the parser");
  CountingHandler counting(handler);
  RelayEnd end = read_relay(source, {request.limits, request.agreement}, check_manifests, counting);
  switch (end.kind) {
    case RelayEnd::Kind::kComplete: {
      PayloadFacts facts = counting.facts();
      facts.plain_bytes = end.batch_octets;
      return {facts, false};
    }
    case RelayEnd::Kind::kRefused:
    case RelayEnd::Kind::kTrouble:
      return {std::move(end.status), false};
    case RelayEnd::Kind::kOwn:
      return {counting.failure().is_ok() ? std::move(end.status) : counting.failure(), false};
    case RelayEnd::Kind::kNotBelieved:
      return {
          Status::permanent("5.6.0", str_cat({"the parser was not sound: ", end.status.text()})),
          true};
    case RelayEnd::Kind::kCut:
      break;
  }
  return judge_end(child.ended());
}

Result<std::string> run_confined(const os::File& file, Sandbox sandbox, std::size_t limit,
                                 const std::function<Status(Sink&)>& work) {
  const os::SandboxSupport support = os::sandbox_support();
  TRY(check_walls(sandbox, support));
  Child child;
  TRY(child.start(file, support, [&work](const Status& caged, Sink& pipe) {
    try {
      return caged.is_ok() ? work(pipe) : caged;
    } catch (const std::bad_alloc&) {
      return Status::temporary("4.3.0", "out of memory");
    }
  }));
  os::FdSource source(child.output(), "the pipe of the parser");
  StringSink text(limit);
  TRY(copy(source, text).status());
  const auto ended = child.ended();
  if (ended && WIFEXITED(*ended) && WEXITSTATUS(*ended) == 0) {
    return text.take();
  }
  if (ended && WIFEXITED(*ended)) {
    return Status::temporary(
        "4.3.0", "the process that parses could not be caged, or had too little memory");
  }
  return judge_end(ended).facts.status();
}

}  // namespace bsmtp::parcel
