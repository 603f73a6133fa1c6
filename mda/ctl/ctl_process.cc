#include "mda/ctl/ctl_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/unique_fd.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxOutput = 65536;

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> block{};
  for (;;) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n == 0 || (n < 0 && errno != EINTR)) {
      return text;
    }
    if (n > 0 && text.size() < kMaxOutput) {
      text.append(block.data(), static_cast<std::size_t>(n));
    }
  }
}

struct Actions {
  Actions() { posix_spawn_file_actions_init(&value); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  ~Actions() { posix_spawn_file_actions_destroy(&value); }
  posix_spawn_file_actions_t value{};
};

}  // namespace

Result<ProcessOutput> run_program(const std::vector<std::string>& argv, bool quiet) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Status::from_errno("pipe", errno);
  }
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  Actions actions;
  posix_spawn_file_actions_addopen(&actions.value, 0, "/dev/null", O_RDONLY, 0);
  if (quiet) {
    posix_spawn_file_actions_adddup2(&actions.value, writing.get(), 1);
    posix_spawn_file_actions_addopen(&actions.value, 2, "/dev/null", O_WRONLY, 0);
  }
  std::vector<char*> words;
  for (const std::string& word : argv) {
    words.push_back(const_cast<char*>(word.c_str()));  // NOLINT: the C interface; not written to
  }
  words.push_back(nullptr);
  std::string path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::string locale = "LC_ALL=C";
  std::array<char*, 3> environment = {path.data(), locale.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, argv.front().c_str(), &actions.value, nullptr, words.data(),
                                  environment.data());
  if (error != 0) {
    return Status::from_errno("cannot start " + argv.front(), error);
  }
  writing.reset();
  ProcessOutput result;
  result.output = read_all(reading.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string find_program(const std::string& name) {
  for (const char* directory : {"/usr/sbin/", "/usr/local/sbin/", "/usr/bin/", "/usr/local/bin/"}) {
    std::string path = directory + name;
    if (::access(path.c_str(), X_OK) == 0) {
      return path;
    }
  }
  return "";
}

}  // namespace bsmtp::mda::ctl
