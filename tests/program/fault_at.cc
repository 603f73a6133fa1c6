// fault_at: runs a program and lets its k-th call that changes the disk or speaks on a socket be
// its last, or fail. Calls of all threads and of child processes are counted together, as the
// kernel sees them (seccomp notifications), so also SQLite's.
//   fault_at --below DIR [--only TEXT] [--log FILE] [--kill K | --fail K | --while FILE]
//            [--error NUMBER] -- PROGRAM ARGUMENT...
// Counted: calls on names, on files whose path begins with DIR and on sockets; with --only those
// that have TEXT in their path. --while FILE: every counted call fails as long as FILE exists.
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
  long fail_at = 0;
  int error = EIO;
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
    } else if (key == "--fail") {
      options.fail_at = std::strtol(value, nullptr, 10);
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

// Only calls in the table reach the watcher; of openat those that may create.
std::vector<sock_filter> make_filter() {
  std::vector<sock_filter> filter;
  const auto load = [&](std::size_t offset) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)));
  };
  for (const Call& call : kCalls) {
    const auto number = static_cast<unsigned>(call.number);
    load(offsetof(seccomp_data, nr));
    if (call.number == SYS_openat) {
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

void child(Handshake& shared, char** program) {
  std::vector<sock_filter> filter = make_filter();
  sock_fprog code{static_cast<unsigned short>(filter.size()), filter.data()};
  long fd = -1;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // without its watcher it could not go on
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
    fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &code);
  }
  shared.listener = fd < 0 ? -errno : static_cast<int>(fd) + 1;
  while (!shared.taken) {
    ::usleep(100);
  }
  ::execv(program[0], program);
  ::_exit(126);
}

class Watcher {
 public:
  Watcher(const Options& options, pid_t pid, int listener)
      : options_(options), pid_(pid), listener_(listener), log_(options.log) {}

  // Until the program has ended; its exit code.
  int run() {
    pollfd watched{listener_, POLLIN, 0};
    for (;;) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
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
    for (const Call& each : kCalls) {
      known = each.number == call.data.nr ? &each : known;
    }
    const std::string path = known == nullptr ? "" : subject(*known, call);
    if (known != nullptr && counts(path)) {
      ++count_;
      log_ << count_ << ' ' << known->name << ' ' << path << std::endl;
      if (count_ == options_.kill_at) {
        ::kill(pid_, SIGKILL);
        return;
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
    child(*shared, options.program);
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
