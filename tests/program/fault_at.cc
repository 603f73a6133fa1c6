// fault_at: runs a program and lets its k-th call that changes the disk or speaks on a socket be
// its last, or fail. Calls of all threads and of child processes are counted together, as the
// kernel sees them (seccomp notifications), so also SQLite's.
//   fault_at --below DIR [--only TEXT] [--reads yes] [--log FILE]
//            [--kill K | --kill-caller K | --fail K | --short K | --while FILE]
//            [--error NUMBER] -- PROGRAM ARGUMENT...
// Counted: calls on names, on files whose path begins with DIR and on sockets; with --only those
// that have TEXT in their path; with --reads also calls that only read, open or look.
// --kill-caller: not the program dies but the process that made the call (its child). --short: a
// write ends after its first half. --while FILE: every counted call fails as long as FILE exists.
// SIGTERM and SIGHUP are passed on. --log: one line for each call, "K CALL PATH". Exit code: the
// program's, 128 + signal when it was killed, 77 when the kernel does not let it watch. Tests only;
// Linux 5.6 or later.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Call {
  const char* name;
  int number;
  int name_argument;  // which argument is the path; -1: the first is a descriptor
};

// unlinkat and the like: the directory argument is not looked at, the product uses whole paths.
constexpr Call kCalls[] = {
    {"write", SYS_write, -1},
    {"writev", SYS_writev, -1},
    {"pwrite64", SYS_pwrite64, -1},
    {"fsync", SYS_fsync, -1},
    {"fdatasync", SYS_fdatasync, -1},
    {"ftruncate", SYS_ftruncate, -1},
    {"fallocate", SYS_fallocate, -1},
    {"fchmod", SYS_fchmod, -1},
    {"sendto", SYS_sendto, -1},
    {"sendmsg", SYS_sendmsg, -1},
    {"syncfs", SYS_syncfs, -1},
    {"openat", SYS_openat, 1},
    {"renameat", SYS_renameat, 1},
    {"renameat2", SYS_renameat2, 1},
    {"unlinkat", SYS_unlinkat, 1},
    {"mkdirat", SYS_mkdirat, 1},
    {"linkat", SYS_linkat, 1},
    {"fchmodat", SYS_fchmodat, 1},
#ifdef SYS_open
    {"rename", SYS_rename, 0},
    {"unlink", SYS_unlink, 0},
    {"mkdir", SYS_mkdir, 0},
    {"rmdir", SYS_rmdir, 0},
    {"link", SYS_link, 0},
    {"chmod", SYS_chmod, 0},
#endif
};

// Counted with --reads only. (openat without O_CREAT, too.)
constexpr Call kReads[] = {
    {"read", SYS_read, -1},
    {"pread64", SYS_pread64, -1},
    {"recvfrom", SYS_recvfrom, -1},
    {"close", SYS_close, -1},
    {"fstat", SYS_fstat, -1},
    {"getdents64", SYS_getdents64, -1},
    {"flock", SYS_flock, -1},
    {"fstatfs", SYS_fstatfs, -1},
    {"newfstatat", SYS_newfstatat, 1},
    {"faccessat", SYS_faccessat, 1},
    {"statx", SYS_statx, 1},
    {"statfs", SYS_statfs, 0},
#ifdef SYS_open
    {"access", SYS_access, 0},
#endif
};

pid_t g_program = 0;

void pass_on(int signal) {
  ::kill(g_program, signal);
}

struct Options {
  std::string below;
  std::string only;
  std::string log;
  std::string fail_while;
  long kill_at = 0;
  long kill_caller_at = 0;
  long fail_at = 0;
  long short_at = 0;
  int error = EIO;
  bool reads = false;
  char** program = nullptr;
};

[[noreturn]] void end(int code, const std::string& why) {
  std::fprintf(stderr, "fault_at: %s\n", why.c_str());
  std::exit(code);
}

Options parse(int argc, char** argv) {
  Options options;
  int i = 1;
  for (; i + 1 < argc && std::strcmp(argv[i], "--") != 0; i += 2) {
    const std::string key = argv[i];
    const char* value = argv[i + 1];
    if (key == "--below") {
      options.below = value;
    } else if (key == "--only") {
      options.only = value;
    } else if (key == "--log") {
      options.log = value;
    } else if (key == "--while") {
      options.fail_while = value;
    } else if (key == "--kill") {
      options.kill_at = std::strtol(value, nullptr, 10);
    } else if (key == "--kill-caller") {
      options.kill_caller_at = std::strtol(value, nullptr, 10);
    } else if (key == "--fail") {
      options.fail_at = std::strtol(value, nullptr, 10);
    } else if (key == "--short") {
      options.short_at = std::strtol(value, nullptr, 10);
    } else if (key == "--reads") {
      options.reads = std::string_view(value) == "yes";
    } else if (key == "--error") {
      options.error = static_cast<int>(std::strtol(value, nullptr, 10));
    } else {
      end(2, "unknown option " + key);
    }
  }
  if (i + 1 >= argc || options.below.empty()) {
    end(2, "usage: fault_at --below DIR [options] -- PROGRAM ARGUMENT...");
  }
  options.program = argv + i + 1;
  return options;
}

std::vector<Call> watched_calls(bool reads) {
  std::vector<Call> calls(std::begin(kCalls), std::end(kCalls));
  if (reads) {
    calls.insert(calls.end(), std::begin(kReads), std::end(kReads));
  }
  return calls;
}

// Only these calls reach the watcher; of openat, unless reads count, those that may create.
std::vector<sock_filter> make_filter(bool reads) {
  std::vector<sock_filter> filter;
  const auto load = [&](std::size_t offset) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)));
  };
  for (const Call& call : watched_calls(reads)) {
    const auto number = static_cast<unsigned>(call.number);
    load(offsetof(seccomp_data, nr));
    if (call.number == SYS_openat && !reads) {
      filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3));
      load(offsetof(seccomp_data, args) + 2 * sizeof(__u64));
      filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT, 0, 1));
    } else {
      filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return filter;
}

// Shared with the child until it becomes the program: its writes are watched already.
struct Handshake {
  std::atomic<int> listener{0};  // descriptor + 1, or -errno
  std::atomic<bool> taken{false};
};

void child(Handshake& shared, const Options& options) {
  std::vector<sock_filter> filter = make_filter(options.reads);
  sock_fprog code{static_cast<unsigned short>(filter.size()), filter.data()};
  long fd = -1;
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // without its watcher it could not go on
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
    fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &code);
  }
  shared.listener = fd < 0 ? -errno : static_cast<int>(fd) + 1;
  while (!shared.taken) {
    ::usleep(100);
  }
  ::execv(options.program[0], options.program);
  ::_exit(126);
}

class Watcher {
 public:
  Watcher(const Options& options, pid_t pid, int listener)
      : options_(options),
        calls_(watched_calls(options.reads)),
        pid_(pid),
        listener_(listener),
        log_(options.log) {}

  // Until the program has ended; its exit code.
  int run() {
    pollfd watched{listener_, POLLIN, 0};
    for (;;) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        ::kill(-pid_, SIGKILL);  // what it started and left behind cannot go on either
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      if (::poll(&watched, 1, 20) > 0 && (watched.revents & POLLIN) != 0) {
        answer();
      } else if ((watched.revents & POLLHUP) != 0) {
        ::usleep(1000);
      }
    }
  }

 private:
  void answer() {
    seccomp_notif call{};
    if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
      return;  // it was killed meanwhile
    }
    seccomp_notif_resp response{};
    response.id = call.id;
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    const Call* known = nullptr;
    for (const Call& each : calls_) {
      known = each.number == call.data.nr ? &each : known;
    }
    const std::string path = known == nullptr ? "" : subject(*known, call);
    if (known != nullptr && counts(path)) {
      ++count_;
      log_ << count_ << ' ' << known->name << ' ' << path << std::endl;
      if (count_ == options_.kill_at || count_ == options_.kill_caller_at) {
        ::kill(count_ == options_.kill_at ? pid_ : static_cast<pid_t>(call.pid), SIGKILL);
        return;
      }
      if (count_ == options_.short_at) {
        write_half(call, response);
      }
      if (count_ == options_.fail_at ||
          (!options_.fail_while.empty() && ::access(options_.fail_while.c_str(), F_OK) == 0)) {
        response.flags = 0;
        response.error = -options_.error;
      }
    }
    ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &response);
  }

  bool counts(const std::string& path) const {
    const bool ours = path.starts_with(options_.below) || path.starts_with("socket:");
    return ours && path.find(options_.only) != std::string::npos;
  }

  // Does half of the write for the program, so that it sees a short count.
  void write_half(const seccomp_notif& call, seccomp_notif_resp& response) const {
    const bool sends = call.data.nr == SYS_sendto;
    const auto size = static_cast<std::size_t>(call.data.args[2]) / 2;
    if ((call.data.nr != SYS_write && call.data.nr != SYS_pwrite64 && !sends) || size == 0) {
      return;
    }
    std::vector<char> data(size);
    const int memory = ::open(("/proc/" + std::to_string(call.pid) + "/mem").c_str(), O_RDONLY);
    const auto got = ::pread(memory, data.data(), size, static_cast<off_t>(call.data.args[1]));
    ::close(memory);
    const long process = ::syscall(SYS_pidfd_open, thread_group(static_cast<pid_t>(call.pid)), 0);
    const int file = static_cast<int>(::syscall(SYS_pidfd_getfd, process, call.data.args[0], 0));
    ssize_t written = -1;
    if (got == static_cast<ssize_t>(size) && file >= 0) {
      written = call.data.nr == SYS_pwrite64
                    ? ::pwrite(file, data.data(), size, static_cast<off_t>(call.data.args[3]))
                    : ::write(file, data.data(), size);
    }
    ::close(file);
    ::close(static_cast<int>(process));
    if (written > 0) {
      response.flags = 0;
      response.val = written;
    }
  }

  static long thread_group(pid_t thread) {
    std::ifstream status("/proc/" + std::to_string(thread) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Tgid:")) {
        return std::strtol(line.c_str() + 5, nullptr, 10);
      }
    }
    return thread;
  }

  static std::string subject(const Call& call, const seccomp_notif& notif) {
    const std::string process = "/proc/" + std::to_string(notif.pid);
    char buffer[PATH_MAX] = {};
    if (call.name_argument < 0) {
      const std::string link = process + "/fd/" + std::to_string(notif.data.args[0]);
      const ssize_t size = ::readlink(link.c_str(), buffer, sizeof buffer - 1);
      return size < 0 ? "" : std::string(buffer, static_cast<std::size_t>(size));
    }
    const int memory = ::open((process + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
    if (memory < 0) {
      return "";
    }
    const auto at = static_cast<off_t>(notif.data.args[call.name_argument]);
    const ssize_t size = ::pread(memory, buffer, sizeof buffer - 1, at);
    ::close(memory);
    return size < 0 ? "" : std::string(buffer);
  }

  const Options& options_;
  std::vector<Call> calls_;
  pid_t pid_;
  int listener_;
  std::ofstream log_;
  long count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  void* page =
      ::mmap(nullptr, sizeof(Handshake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    end(1, "no memory");
  }
  auto* shared = new (page) Handshake;
  const pid_t pid = ::fork();
  if (pid == 0) {
    child(*shared, options);
  }
  while (shared->listener == 0) {
    ::usleep(100);
  }
  int listener = -1;
  if (shared->listener > 0) {
    const long pidfd = ::syscall(SYS_pidfd_open, pid, 0);
    listener = static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, shared->listener - 1, 0));
  }
  if (listener < 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    end(77, "seccomp notifications are not allowed here");
  }
  g_program = pid;
  ::signal(SIGTERM, pass_on);
  ::signal(SIGHUP, pass_on);
  shared->taken = true;
  return Watcher(options, pid, listener).run();
}
