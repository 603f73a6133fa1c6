#include "mda/ctl/ctl_identity.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/os/identity.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxReply = 1U << 20U;

// The path itself or its nearest parent that exists: who owns that will own what is made below.
std::string nearest_existing(std::string path) {
  while (path.size() > 1 && ::access(path.c_str(), F_OK) != 0) {
    const std::size_t slash = path.rfind('/');
    path = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  }
  return path;
}

// Wire form of the child's answer: class, code, text; the parent reads to the end.
std::string encode(const Result<std::string>& result) {
  if (result.is_ok()) {
    return "o" + *result;
  }
  const Status status = result.status();
  return str_cat({status.is_temporary() ? "t" : "p", status.code(), " ", status.text()});
}

Result<std::string> decode(const std::string& reply, int wait_status) {
  if (reply.empty() || !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
    return Status::temporary("4.3.0", "a step under another user id ended unexpectedly");
  }
  const std::string rest = reply.substr(1);
  if (reply.front() == 'o') {
    return rest;
  }
  const std::size_t blank = rest.find(' ');
  const std::string code = rest.substr(0, blank);
  const std::string text = blank == std::string::npos ? "" : rest.substr(blank + 1);
  return reply.front() == 't' ? Status::temporary(code, text) : Status::permanent(code, text);
}

std::string user_name(uid_t uid) {
  const passwd* const entry = ::getpwuid(uid);  // NOLINT(concurrency-mt-unsafe): one thread
  return entry == nullptr ? "user id " + std::to_string(uid) : entry->pw_name;
}

[[noreturn]] void child(int fd, const std::string& path,
                        const std::function<Result<std::string>()>& step) {
  Result<std::string> result = Status::temporary("4.3.0", "not run");
  try {
    const Status became = become_owner_of(path);
    result = became.is_ok() ? step() : Result<std::string>(became);
  } catch (const std::exception& e) {
    result = Status::temporary("4.3.0", e.what());
  }
  const std::string reply = encode(result);
  std::string_view left = reply;
  while (!left.empty()) {
    const ssize_t n = ::write(fd, left.data(), left.size());
    if (n < 0 && errno != EINTR) {
      ::_exit(1);
    }
    left.remove_prefix(n < 0 ? 0 : static_cast<std::size_t>(n));
  }
  ::_exit(0);
}

}  // namespace

Status refuse_among_others(const config::Config& config, const std::string& path) {
  if (!os::has_root()) {
    return Status::ok();
  }
  TRY_ASSIGN(const os::ServiceUser here, os::owner_of(nearest_existing(path)));
  if (here.uid != 0) {
    return Status::ok();
  }
  const bool there = ::access(path.c_str(), F_OK) == 0;
  for (const std::string& other :
       {config.spool_directory, config.sign_home(), config.verify_home()}) {
    const auto owner = os::owner_of(other);
    if (owner.is_ok() && owner->uid != 0) {
      return Status::temporary(
          "4.3.5",
          str_cat({path, there ? ": belongs to root, but " : ": is not there, but ", other,
                   " belongs to ", user_name(owner->uid),
                   ": what root made there would be out of the services' reach; ",
                   there ? "chown it to its user" : "make it with install -d and its user and mode",
                   " (README's set-up has them)"}));
    }
  }
  return Status::ok();
}

Status make_verify_home(const config::Config& config) {
  const std::string home = config.verify_home();
  if (::access(home.c_str(), F_OK) == 0 || errno != ENOENT) {
    return Status::ok();  // the next step says what is wrong with it
  }
  const auto reader = os::owner_of(config.spool_directory);
  if (!reader.is_ok()) {
    return Status::ok();  // no spool yet: nobody knows its user, and the parent's owner has it
  }
  if (!os::has_root() && reader->uid != ::geteuid()) {
    return Status::temporary(
        "4.3.5", str_cat({home, ": is not there, and must belong to ", user_name(reader->uid),
                          ", the owner of the spool; call this as root"}));
  }
  if (::mkdir(home.c_str(), 0700) != 0) {
    return Status::from_errno("making GnuPG home " + home, errno);
  }
  const UniqueFd fd(::open(home.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() || (os::has_root() && ::fchown(fd.get(), reader->uid, reader->gid) != 0)) {
    return Status::from_errno("giving GnuPG home " + home + " to its user", errno);
  }
  return Status::ok();
}

Status become_owner_of(const std::string& path) {
  if (!os::has_root()) {
    return Status::ok();
  }
  TRY_ASSIGN(const os::ServiceUser owner, os::owner_of(nearest_existing(path)));
  if (owner.uid == 0) {
    return Status::ok();
  }
  TRY(os::become(owner, false));
  // A working directory or HOME of root's is no place for the new user (gpg looks at HOME).
  if (::chdir("/") != 0) {
    return Status::from_errno("chdir /", errno);
  }
  ::setenv("HOME", "/nonexistent", 1);
  return Status::ok();
}

Result<std::string> as_owner_of(const std::string& path,
                                const std::function<Result<std::string>()>& step) {
  if (!os::has_root()) {
    return step();
  }
  TRY_ASSIGN(const os::ServiceUser owner, os::owner_of(nearest_existing(path)));
  if (owner.uid == 0) {
    return step();
  }
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    return Status::from_errno("pipe", errno);
  }
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return Status::from_errno("fork", errno);
  }
  if (pid == 0) {
    reading.reset();
    child(writing.get(), path, step);
  }
  writing.reset();
  std::string reply;
  std::array<char, 4096> block{};
  while (reply.size() < kMaxReply) {
    const ssize_t n = ::read(reading.get(), block.data(), block.size());
    if (n == 0 || (n < 0 && errno != EINTR)) {
      break;
    }
    reply.append(block.data(), n < 0 ? 0 : static_cast<std::size_t>(n));
  }
  reading.reset();
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return decode(reply, wait_status);
}

Status step_as_owner_of(const std::string& path, const std::function<Status()>& step) {
  return as_owner_of(path,
                     [&step]() -> Result<std::string> {
                       TRY(step());
                       return std::string();
                     })
      .status();
}

}  // namespace bsmtp::mda::ctl
