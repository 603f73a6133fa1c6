#include "mda/ctl/ctl_identity.h"

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
