#include "mda/agent/agent.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <new>
#include <stdexcept>

#include "common/base/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

struct Ended {
  int exit = -1;
  std::string output;
  bool drained = false;  // everything put into standard input was read
};

// Runs `body` in the frame in a child with pipes as standard input and output.
Ended run_framed(const std::function<Status()>& body, int input_octets = 0) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  EXPECT_EQ(::pipe(in.data()), 0);
  EXPECT_EQ(::pipe(out.data()), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    for (const int fd : {in[0], in[1], out[0], out[1]}) {
      ::close(fd);
    }
    AgentOptions options;
    options.name = "test-agent";
    ::_exit(run_agent(options, body));
  }
  ::close(in[0]);
  ::close(out[1]);
  std::signal(SIGPIPE, SIG_IGN);
  const std::string data(static_cast<std::size_t>(input_octets), 'x');
  Ended ended;
  ended.drained = ::write(in[1], data.data(), data.size()) == static_cast<ssize_t>(data.size());
  ::close(in[1]);
  const UniqueFd reader(out[0]);
  std::array<char, 512> block{};
  for (ssize_t n = 0; (n = ::read(reader.get(), block.data(), block.size())) > 0;) {
    ended.output.append(block.data(), static_cast<std::size_t>(n));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ended.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

struct ExitCase {
  const char* name;
  Status status;
  int exit;
};

TEST(ExitCode, IsOneOfFour) {
  const ExitCase cases[] = {
      {"ok", Status::ok(), 0},
      {"temporary", Status::temporary("4.3.0", "x"), 75},
      {"configuration", Status::temporary("4.3.5", "x"), 75},
      {"content", Status::permanent("5.6.1", "x"), 65},
      {"address", Status::permanent("5.1.3", "x"), 65},
      {"loop", Status::permanent("5.4.6", "x"), 69},
      {"policy", Status::permanent("5.7.1", "x"), 69},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(exit_code(c.status), c.exit) << c.name;
  }
}

TEST(RunAgent, SaysNothingOnSuccess) {
  const Ended ended = run_framed([] { return Status::ok(); });
  EXPECT_EQ(ended.exit, 0);
  EXPECT_EQ(ended.output, "");
}

TEST(RunAgent, PrintsOneLineAndDrainsItsInputOnFailure) {
  const Ended ended =
      run_framed([] { return Status::permanent("5.6.1", "two\nlines\x1b[31m"); }, 1 << 20);
  EXPECT_EQ(ended.exit, 65);
  EXPECT_EQ(ended.output, "5.6.1 two?lines?[31m\n");
  EXPECT_TRUE(ended.drained);
}

struct ThrowCase {
  const char* name;
  std::function<Status()> body;
};

TEST(RunAgent, EveryExceptionEndsIn75) {
  const ThrowCase cases[] = {
      {"out of memory", []() -> Status { throw std::bad_alloc(); }},
      {"library", []() -> Status { throw std::runtime_error("boom"); }},
      {"other", []() -> Status { throw 42; }},
  };
  for (const auto& c : cases) {
    const Ended ended = run_framed(c.body);
    EXPECT_EQ(ended.exit, 75) << c.name;
    EXPECT_TRUE(ended.output.starts_with("4.3.")) << c.name;
    EXPECT_EQ(ended.output.find('\n'), ended.output.size() - 1) << c.name;
  }
}

TEST(RunAgent, OversteppingTheDeadlineEndsIn75) {
  const Ended ended = run_framed([] {
    set_deadline({"test-agent", std::chrono::seconds(1)}, std::chrono::seconds(1));
    ::sleep(20);
    return Status::ok();
  });
  EXPECT_EQ(ended.exit, 75);
  EXPECT_TRUE(ended.output.starts_with("4.3.2 test-agent: not done")) << ended.output;
}

TEST(RunAgent, SetsUmaskAndIgnoresSigpipe) {
  const Ended ended = run_framed([]() -> Status {
    const mode_t mask = ::umask(0);
    struct sigaction action {};
    ::sigaction(SIGPIPE, nullptr, &action);
    return mask == 007 && action.sa_handler == SIG_IGN ? Status::ok()
                                                       : Status::temporary("4.3.0", "not set");
  });
  EXPECT_EQ(ended.exit, 0);
}

TEST(RunAgent, OpensMissingStandardDescriptors) {
  const test::TempDir dir;
  const std::string path = dir / "spool-file";
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (const int fd : {0, 1, 2}) {
      ::close(fd);
    }
    ::_exit(run_agent({"test-agent", std::chrono::seconds(10)}, [&] {
      const UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      return fd.get() > 2 ? Status::ok() : Status::temporary("4.3.0", "took a standard one");
    }));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(ParentWatch, SeesThatItsParentDied) {
  EXPECT_TRUE(ParentWatch().check().is_ok());
  std::array<int, 2> fds{};
  ASSERT_EQ(::pipe(fds.data()), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const pid_t parent = ::getpid();
    if (::fork() == 0) {
      const ParentWatch watch;
      char result = watch.check().is_ok() ? 'a' : 'x';
      for (int i = 0; i < 500 && ::getppid() == parent; ++i) {
        ::usleep(10000);
      }
      if (result == 'a' && watch.check().is_temporary()) {
        result = 'y';
      }
      if (::write(fds[1], &result, 1) != 1) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::usleep(50000);
    ::_exit(0);
  }
  ::close(fds[1]);
  ::waitpid(pid, nullptr, 0);
  const UniqueFd reader(fds[0]);
  char result = '-';
  EXPECT_EQ(::read(reader.get(), &result, 1), 1);
  EXPECT_EQ(result, 'y');
}

TEST(BecomeServiceUser, IsTheOwnerOfTheSpool) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can change its ids";
  }
  const test::TempDir dir;
  ASSERT_EQ(::chown(dir.path().c_str(), 65534, 65534), 0);
  const Ended ended = run_framed([&]() -> Status {
    TRY(become_service_user(dir.path()));
    return ::geteuid() == 65534 && ::getuid() == 65534 ? Status::ok()
                                                       : Status::temporary("4.3.0", "not it");
  });
  EXPECT_EQ(ended.exit, 0) << ended.output;
  EXPECT_TRUE(become_service_user(dir / "missing").is_temporary());
}

}  // namespace
}  // namespace bsmtp::mda
