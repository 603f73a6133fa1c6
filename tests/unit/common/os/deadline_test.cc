#include "common/os/deadline.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "common/base/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::os {
namespace {

struct Ended {
  int status = 0;
  std::string output;
};

template <typename Body>
Ended run_child(Body body) {
  std::array<int, 2> fds{};
  EXPECT_EQ(::pipe(fds.data()), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(fds[1], STDOUT_FILENO);
    ::close(fds[0]);
    ::close(fds[1]);
    body();
    ::_exit(0);
  }
  ::close(fds[1]);
  const UniqueFd out(fds[0]);
  Ended ended;
  std::array<char, 512> block{};
  for (ssize_t n = 0; (n = ::read(out.get(), block.data(), block.size())) > 0;) {
    ended.output.append(block.data(), static_cast<std::size_t>(n));
  }
  ::waitpid(pid, &ended.status, 0);
  return ended;
}

TEST(Deadline, EndsWith75OneLineAndNoTemporaryFile) {
  const test::TempDir dir;
  const std::string path = dir / "tmp";
  test::spit(path, "half");
  const Ended ended = run_child([&] {
    sigset_t set;  // as an MTA might leave it
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    Deadline::cleanup(path);
    Deadline::arm(std::chrono::seconds(1), "bsmtp-out");
    for (;;) {
      ::pause();
    }
  });
  ASSERT_TRUE(WIFEXITED(ended.status));
  EXPECT_EQ(WEXITSTATUS(ended.status), 75);
  EXPECT_EQ(ended.output, "4.3.2 bsmtp-out: not done within 1 s; the MTA tries again\n");
  EXPECT_TRUE(test::names_in(dir.path()).empty());
}

TEST(Deadline, DisarmedDoesNothing) {
  const Ended ended = run_child([] {
    Deadline::arm(std::chrono::seconds(1), "x");
    Deadline::disarm();
    ::usleep(1100000);
  });
  EXPECT_TRUE(WIFEXITED(ended.status));
  EXPECT_EQ(WEXITSTATUS(ended.status), 0);
}

}  // namespace
}  // namespace bsmtp::os
