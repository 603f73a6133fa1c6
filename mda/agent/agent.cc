#include "mda/agent/agent.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <new>

#include "common/base/stream.h"
#include "common/base/text.h"
#include "common/os/deadline.h"
#include "common/os/file_ops.h"
#include "common/os/identity.h"

namespace bsmtp::mda {
namespace {

constexpr std::string_view kReplyCode = "421";

// A file opened by us must never become descriptor 0, 1 or 2: a stray message would go into it.
void open_standard_descriptors() {
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) {
    ::close(fd);
  }
}

Status run_guarded(const std::function<Status()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status::temporary("4.3.0", "out of memory");
  } catch (const std::exception& e) {
    return Status::temporary("4.3.5", std::string("unexpected failure: ") + e.what());
  } catch (...) {
    return Status::temporary("4.3.5", "unexpected failure");
  }
}

// Postfix takes the reason from the first line of output, sendmail shows all of it in the DSN.
void print_line(const std::string& line) {
  const auto n = ::write(STDOUT_FILENO, line.data(), line.size());
  static_cast<void>(n);  // the exit status says the same
}

}  // namespace

int exit_code(const Status& status) {
  if (status.is_ok()) {
    return kExitOk;
  }
  if (status.is_temporary()) {
    return kExitTemporary;
  }
  // RFC 3463: 5.4.x routing (loops), 5.7.x policy; the rest is about the message or its addresses.
  const bool policy = status.code().starts_with("5.4.") || status.code().starts_with("5.7.");
  return policy ? kExitPolicy : kExitData;
}

bool asks_for_lmtp(int argc, const char* const* argv) {
  for (int i = 1; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    if (std::string_view(argv[i]) == "--lmtp") {
      return true;
    }
  }
  return false;
}

int run_agent(const AgentOptions& options, const std::function<Status()>& body) {
  open_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for SIGPIPE
  ::umask(007);
  set_deadline(options, options.deadline);
  const Status status = run_guarded(body);
  if (!status.is_ok() && options.lmtp) {
    // RFC 5321 3.8: 421 may come at any time. The class is temporary whatever the text says.
    print_line(str_cat({kReplyCode, " ", status.is_temporary() ? "" : "4.3.0 ",
                        printable(status.to_string(), 440), "\r\n"}));
  } else if (!status.is_ok()) {
    drain_stdin();
    print_line(status.to_string() + "\n");
  }
  os::Deadline::disarm();
  return exit_code(status);
}

void set_deadline(const AgentOptions& options, std::chrono::seconds limit) {
  os::Deadline::arm(limit, options.name, options.lmtp ? kReplyCode : std::string_view());
}

ParentWatch::ParentWatch() : parent_(::getppid()) {}

Status ParentWatch::check() const {
  return ::getppid() == parent_
             ? Status::ok()
             : Status::temporary("4.3.0",
                                 "the MTA that started this agent is gone; what arrived may be "
                                 "half a message and is dropped, the MTA's queue has the whole");
}

Status become_service_user(const std::string& spool_directory) {
  if (!os::has_root()) {
    return os::become({}, false);
  }
  TRY_ASSIGN(const os::FileInfo spool, os::real_file_ops().stat(spool_directory));
  if (spool.owner == 0 && ::getuid() == 0 && ::geteuid() == 0) {
    return Status::ok();  // root throughout: nothing to change, no look-up in passwd to pay for
  }
  TRY_ASSIGN(const os::ServiceUser owner, os::owner_of(spool_directory));
  return os::become(owner, owner.uid == 0);
}

Status become_dispatch_user(const std::string& spool_directory, const std::string& sign_home) {
  const auto keys = os::owner_of(sign_home);
  if (!os::has_root() || keys.status().error_number() == ENOENT) {
    return become_service_user(spool_directory);
  }
  TRY(keys.status());
  TRY_ASSIGN(const os::ServiceUser spool, os::owner_of(spool_directory));
  if ((keys->uid == 0) != (spool.uid == 0)) {
    return Status::temporary(
        "4.3.5", str_cat({keys->uid == 0 ? sign_home : spool_directory, ": belongs to root, but ",
                          keys->uid == 0 ? spool_directory : sign_home,
                          " does not; chown it to the user of the service that works in it"}));
  }
  return os::become({keys->uid, spool.gid}, keys->uid == 0);
}

void drain_stdin() {
  if (::isatty(STDIN_FILENO) == 1) {
    return;
  }
  std::array<char, kBlockSize> block;  // NOLINT: never read
  ssize_t n = 0;
  do {
    n = ::read(STDIN_FILENO, block.data(), block.size());
  } while (n > 0 || (n < 0 && errno == EINTR));
}

}  // namespace bsmtp::mda
