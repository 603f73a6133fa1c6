#include "common/os/deadline.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

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
    const Deadline::Scratch scratch(path);
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

TEST(Deadline, TakesAwayADirectoryWithItsFilesAndNothingElse) {
  const test::TempDir dir;
  for (const char* name : {"kept", "gone"}) {
    ASSERT_EQ(::mkdir((dir / name).c_str(), 0700), 0);
    test::spit(dir / (std::string(name) + "/messages"), "half");
  }
  test::spit(dir / "done", "whole");
  const Ended ended = run_child([&] {
    const Deadline::Scratch directory(dir / "gone");
    Deadline::Scratch file(dir / "gone/messages");
    const Deadline::Scratch moved(std::move(file));
    { const Deadline::Scratch done(dir / "done"); }
    const Deadline::Scratch other(dir / "kept");  // holds a file that nobody named
    std::vector<Deadline::Scratch> many;
    many.reserve(20);
    for (int i = 0; i < 20; ++i) {
      many.emplace_back(dir / ("none" + std::to_string(i)));
    }
    Deadline::arm(std::chrono::seconds(1), "bsmtp-in");
    for (;;) {
      ::pause();
    }
  });
  EXPECT_EQ(WEXITSTATUS(ended.status), 75);
  EXPECT_EQ(test::names_in(dir.path()), (std::vector<std::string>{"done", "kept"}));
  EXPECT_EQ(test::names_in(dir / "kept").size(), 1U);
}

TEST(Deadline, EndsWhatItStartedToo) {
  // The pipe of run_child() is open in the grandchild, so that its end is waited for.
  const auto began = std::chrono::steady_clock::now();
  const Ended ended = run_child([] {
    Deadline::end_children_too();
    if (::fork() == 0) {
      if (::fork() == 0) {
        ::sleep(60);
      }
      ::_exit(0);  // as GPGME does, so that nobody is a child of ours
    }
    Deadline::arm(std::chrono::seconds(1), "bsmtp-in");
    for (;;) {
      ::pause();
    }
  });
  ASSERT_TRUE(WIFEXITED(ended.status));
  EXPECT_EQ(WEXITSTATUS(ended.status), 75);
  EXPECT_EQ(ended.output, "4.3.2 bsmtp-in: not done within 1 s; the MTA tries again\n");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
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
