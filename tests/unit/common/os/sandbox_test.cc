// Each thing that a caged child must not do is tried by a child.
#include "common/os/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <new>
#include <stdexcept>
#include <thread>

#include "common/base/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::os {
namespace {

constexpr int kNotEntered = 200;

// What became of a child that entered the cage and then did `deed`, which returns 0 to 199.
int end_of(const SandboxSupport& walls, const std::function<int()>& deed,
           const std::vector<int>& keep = {}, std::uint64_t memory = 1ULL << 30U) {
  const pid_t child = ::fork();
  if (child == 0) {
    SandboxRules rules;
    rules.keep = keep;
    rules.memory = memory;
    const bool entered = enter_sandbox(rules, walls).is_ok();
    ::_exit(entered ? deed() : kNotEntered);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

bool exited_with(int status, int code) {
  return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

int error_of(bool succeeded) {
  return succeeded ? 0 : errno;
}

sockaddr_in somewhere() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

struct Deed {
  const char* name;
  std::function<int()> act;  // 0: it worked; else errno
};

std::vector<Deed> forbidden(int socket, const std::string& directory) {
  const auto touch = [socket] {
    const sockaddr_in address = somewhere();
    return error_of(
        ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  };
  return {
      {"open", [] { return error_of(::open("/etc/passwd", O_RDONLY) >= 0); }},
      {"mkdir", [=] { return error_of(::mkdir((directory + "/x").c_str(), 0700) == 0); }},
      {"exec", [] { return error_of(::execl("/bin/true", "true", nullptr) == 0); }},
      {"connect", touch},
      {"socket", [] { return error_of(::socket(AF_UNIX, SOCK_STREAM, 0) >= 0); }},
      {"kill", [] { return error_of(::kill(::getppid(), 0) == 0); }},
      {"fork", [] { return error_of(::fork() >= 0); }},
      {"executable memory",
       [] {
         return error_of(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                                -1, 0) != MAP_FAILED);
       }},
  };
}

TEST(Sandbox, SeccompEndsWhoeverTriesAnythingElse) {
  if (!sandbox_support().seccomp) {
    GTEST_SKIP() << "no seccomp here";
  }
  const test::TempDir dir;
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const Deed& deed : forbidden(socket.get(), dir.path())) {
    const int free = end_of({}, deed.act, {socket.get()});
    EXPECT_TRUE(WIFEXITED(free)) << deed.name << " without the wall";
    const int status = end_of({false, true}, deed.act, {socket.get()});
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << deed.name << " " << status;
  }
  EXPECT_EQ(test::names_in(dir.path()), std::vector<std::string>{"x"}) << "the free one's";
}

TEST(Sandbox, LandlockAloneRefusesFilesAndPorts) {
  if (!sandbox_support().landlock) {
    GTEST_SKIP() << "no Landlock here";
  }
  const test::TempDir dir;
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const Deed& deed : forbidden(socket.get(), dir.path())) {
    const std::string name = deed.name;
    if (name == "mkdir" || name == "exec") {
      EXPECT_TRUE(exited_with(end_of({true, false}, deed.act, {socket.get()}), EACCES)) << name;
    }
    if (name == "open" || name == "socket") {  // no room for a descriptor, whatever the kernel has
      EXPECT_TRUE(exited_with(end_of({true, false}, deed.act, {socket.get()}), EMFILE)) << name;
    }
  }
  EXPECT_EQ(test::names_in(dir.path()), std::vector<std::string>{});
}

TEST(Sandbox, AParsersWorkIsPossible) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const int status = end_of(sandbox_support(),
                            [&] {
                              std::string block(10'000'000, 'x');
                              try {
                                throw std::runtime_error("an exception");
                              } catch (const std::runtime_error&) {
                                block[0] = 'y';
                              }
                              char seen = 0;
                              std::thread([&] { seen = block[0]; }).join();
                              return ::write(to.get(), &seen, 1) == 1 ? 7 : 8;
                            },
                            {to.get()});
  EXPECT_TRUE(exited_with(status, 7)) << status;
  to.reset();
  char found = 0;
  ASSERT_EQ(::read(from.get(), &found, 1), 1);
  EXPECT_EQ(found, 'y');
}

TEST(Sandbox, OnlyTheNamedDescriptorsStayOpen) {
  const UniqueFd one(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const UniqueFd two(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const UniqueFd three(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const int status = end_of({},
                            [&] {
                              return (::write(two.get(), "x", 1) == 1 ? 1 : 0) +
                                     (::write(one.get(), "x", 1) == 1 ? 2 : 0) +
                                     (::write(three.get(), "x", 1) == 1 ? 4 : 0) +
                                     (::write(2, "", 0) == 0 ? 8 : 0);
                            },
                            {two.get()});
  EXPECT_TRUE(exited_with(status, 1)) << status;
}

TEST(Sandbox, MemoryHasALimit) {
  if (!sandbox_support().seccomp) {
    GTEST_SKIP() << "sanitizers keep their own account of memory";
  }
  const auto hungry = [] {
    try {
      std::vector<char> much(400U << 20U, 'x');
      return much.back() == 'x' ? 1 : 2;
    } catch (const std::bad_alloc&) {
      return 3;
    }
  };
  EXPECT_TRUE(exited_with(end_of({}, hungry, {}, 300U << 20U), 3));
  EXPECT_TRUE(exited_with(end_of({}, hungry), 1));
}

TEST(Sandbox, NamesWhatIsMissing) {
  EXPECT_EQ((SandboxSupport{true, true}).missing(), "");
  EXPECT_EQ((SandboxSupport{false, true}).missing(), "Landlock");
  EXPECT_EQ((SandboxSupport{true, false}).missing(), "seccomp");
  EXPECT_EQ((SandboxSupport{}).missing(), "Landlock and seccomp");
}

}  // namespace
}  // namespace bsmtp::os
