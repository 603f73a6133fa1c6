#include "common/os/deadline.h"

#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

constexpr int kTemporaryFailure = 75;

// Read by the signal handler: plain arrays, filled while SIGALRM is blocked.
std::array<char, 256> g_line{};        // NOLINT: state of a signal handler
volatile std::size_t g_line_size = 0;  // NOLINT
std::array<char, 1024> g_path{};       // NOLINT

class AlarmBlocked {
 public:
  AlarmBlocked() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    ::pthread_sigmask(SIG_BLOCK, &set, &old_);
  }
  AlarmBlocked(const AlarmBlocked&) = delete;
  AlarmBlocked& operator=(const AlarmBlocked&) = delete;
  ~AlarmBlocked() { ::pthread_sigmask(SIG_SETMASK, &old_, nullptr); }

 private:
  sigset_t old_{};
};

extern "C" void on_deadline(int /*signal*/) {
  if (g_path[0] != '\0') {
    ::unlink(g_path.data());
  }
  // A lost line changes nothing: the exit status decides.
  const auto n = ::write(STDOUT_FILENO, g_line.data(), g_line_size);
  static_cast<void>(n);
  ::_exit(kTemporaryFailure);
}

}  // namespace

void Deadline::arm(std::chrono::seconds limit, const std::string& what,
                   std::string_view reply_code) {
  disarm();
  const bool reply = !reply_code.empty();
  const std::string line =
      str_cat({reply_code, reply ? " " : "", "4.3.2 ", what, ": not done within ",
               std::to_string(limit.count()), " s; the MTA tries again", reply ? "\r\n" : "\n"});
  g_line_size = std::min(line.size(), g_line.size());
  std::memcpy(g_line.data(), line.data(), g_line_size);
  struct sigaction action {};
  action.sa_handler = on_deadline;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGALRM, &action, nullptr);
  // A blocked signal is inherited from whoever started us and would make the deadline void.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  itimerval timer{};
  timer.it_value.tv_sec = limit.count();
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Deadline::disarm() {
  const itimerval off{};
  ::setitimer(ITIMER_REAL, &off, nullptr);
}

void Deadline::cleanup(const std::string& path) {
  const AlarmBlocked blocked;
  const std::size_t n = path.size() < g_path.size() ? path.size() : 0;
  std::memcpy(g_path.data(), path.data(), n);
  g_path.at(n) = '\0';
}

}  // namespace bsmtp::os
