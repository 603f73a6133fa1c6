#include "common/os/deadline.h"

#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <tuple>
#include <utility>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

constexpr int kTemporaryFailure = 75;

// Read by the signal handler: plain arrays, filled while SIGALRM is blocked.
std::array<char, 256> g_line{};                // NOLINT: state of a signal handler
volatile std::size_t g_line_size = 0;          // NOLINT
volatile std::sig_atomic_t g_leads_group = 0;  // NOLINT
using ScratchPath = std::array<char, 1024>;
std::array<ScratchPath, 16> g_scratch{};  // NOLINT: "" is a free slot
constexpr std::size_t kNoSlot = std::tuple_size_v<decltype(g_scratch)>;

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
  if (g_leads_group != 0) {
    ::signal(SIGTERM, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for SIGTERM
    ::kill(0, SIGTERM);
  }
  for (const ScratchPath& path : g_scratch) {
    if (path[0] != '\0') {
      ::unlink(path.data());
    }
  }
  for (const ScratchPath& path : g_scratch) {  // directories are empty now
    if (path[0] != '\0') {
      ::rmdir(path.data());
    }
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

void Deadline::end_children_too() {
  if (::getpgrp() == ::getpid() || ::setpgid(0, 0) == 0) {
    g_leads_group = 1;
  }
}

void Deadline::disarm() {
  const itimerval off{};
  ::setitimer(ITIMER_REAL, &off, nullptr);
}

Deadline::Scratch::Scratch(const std::string& path) : slot_(kNoSlot) {
  const AlarmBlocked blocked;
  const auto free = std::find_if(g_scratch.begin(), g_scratch.end(),
                                 [](const ScratchPath& known) { return known[0] == '\0'; });
  if (free == g_scratch.end() || path.size() >= free->size()) {
    return;
  }
  std::memcpy(free->data(), path.c_str(), path.size() + 1);
  slot_ = static_cast<std::size_t>(free - g_scratch.begin());
}

Deadline::Scratch::Scratch(Scratch&& other) noexcept : slot_(std::exchange(other.slot_, kNoSlot)) {}

Deadline::Scratch::~Scratch() {
  if (slot_ != kNoSlot) {
    const AlarmBlocked blocked;
    g_scratch.at(slot_)[0] = '\0';
  }
}

}  // namespace bsmtp::os
