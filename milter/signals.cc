#include "milter/signals.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace {

sigset_t ours() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

// Takes the place of the C library's for the whole program (signals.h says why). A set that is
// empty without ours waits for ever, which is what libmilter's thread is to do.
extern "C" int sigwait(const sigset_t* set, int* signal_number) {
  sigset_t rest = *set;
  sigdelset(&rest, SIGHUP);
  sigdelset(&rest, SIGTERM);
  sigdelset(&rest, SIGINT);
  int result = -1;
  do {
    result = sigwaitinfo(&rest, nullptr);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    return errno;
  }
  *signal_number = result;
  return 0;
}

namespace bsmtp::milter {

Result<UniqueFd> block_signals() {
  const sigset_t set = ours();
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return Status::from_errno("pthread_sigmask", error);
  }
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
    return Status::from_errno("signal", errno);
  }
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return Status::from_errno("signalfd", errno);
  }
  return fd;
}

int next_signal(const UniqueFd& signals) {
  signalfd_siginfo info{};
  const ssize_t n = ::read(signals.get(), &info, sizeof info);
  return n == static_cast<ssize_t>(sizeof info) ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace bsmtp::milter
