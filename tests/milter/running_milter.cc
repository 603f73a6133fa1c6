#include "tests/milter/running_milter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

namespace bsmtp::test {
namespace {

void pause_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

RunningMilter::RunningMilter(Options options) {
  std::string name = "/tmp/milter.XXXXXX";
  directory_ = mkdtemp(name.data());
  socket_ = options.socket.empty() ? "unix:" + socket_file().string() : options.socket;
  write_rules(kHubRules);
  std::ofstream(directory_ / "bsmtp.conf")
      << "host = hub.domain.com\nown-domains = domain.com\n"
      << "spool-directory = " << directory_.string() << "/spool\n"
      << "rewrite-rules = " << directory_.string() << "/rewrite\n"
      << "milter-socket = " << socket_ << "\n"
      << options.configuration << "[peer.remote1]\nhost = athena.domain.co.uk\n"
      << "recipient-domains = *\nopenpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n";
  if (options.start) {
    EXPECT_TRUE(start()) << log();
  }
}

RunningMilter::~RunningMilter() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  // A sanitizer's report anywhere in the program fails the test that met it.
  EXPECT_EQ(log().find("Sanitizer"), std::string::npos) << log();
  EXPECT_EQ(log().find("runtime error:"), std::string::npos) << log();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

bool RunningMilter::start() {
  const std::string config = (directory_ / "bsmtp.conf").string();
  const std::string log_file = (directory_ / "log").string();
  pid_ = fork();
  if (pid_ == 0) {
    const int fd = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    execl(BSMTP_MILTER, BSMTP_MILTER, "--config", config.c_str(), "--foreground", nullptr);
    _exit(127);
  }
  for (int i = 0; i < 1000 && running(); ++i) {
    if (log().find("started") != std::string::npos) {
      return true;
    }
    pause_ms(20);
  }
  return false;
}

int RunningMilter::start_daemon() {
  const std::string config = (directory_ / "bsmtp.conf").string();
  pid_ = fork();
  if (pid_ == 0) {
    execl(BSMTP_MILTER, BSMTP_MILTER, "--config", config.c_str(), nullptr);
    _exit(127);
  }
  const int status = wait();
  is_child_ = false;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ostringstream command;
    command << std::ifstream(entry.path() / "cmdline").rdbuf();
    if (command.str().find(config) != std::string::npos) {
      pid_ = static_cast<pid_t>(std::stol(entry.path().filename()));
    }
  }
  return status;
}

MilterClient RunningMilter::client() const {
  auto client = open();
  if (!client.is_ok()) {
    std::cerr << client.status().to_string() << "\n" << log();
    std::abort();
  }
  const Status begun = client->begin();
  EXPECT_TRUE(begun.is_ok()) << begun.to_string() << log();
  return std::move(client).value();
}

void RunningMilter::signal(int number) const {
  ASSERT_EQ(::kill(pid_, number), 0);
}

int RunningMilter::wait(int seconds) {
  for (int i = 0; i < seconds * 50; ++i) {
    int status = 0;
    if (!is_child_ && !running()) {
      return 0;
    }
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1000 - WTERMSIG(status);
    }
    pause_ms(20);
  }
  return -1;
}

bool RunningMilter::running() {
  if (!is_child_) {  // a dead one that nobody has reaped yet has no command line
    std::ifstream command("/proc/" + std::to_string(pid_) + "/cmdline");
    return pid_ > 0 && command.peek() != std::ifstream::traits_type::eof();
  }
  siginfo_t info{};
  return pid_ > 0 &&
         waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

std::string RunningMilter::log() const {
  std::ostringstream text;
  text << std::ifstream(directory_ / "log").rdbuf();
  return text.str();
}

bool RunningMilter::logs(std::string_view text, std::size_t from) const {
  for (int i = 0; i < 1000; ++i) {
    const std::string all = log();
    if (all.find(text, std::min(from, all.size())) != std::string::npos) {
      return true;
    }
    pause_ms(20);
  }
  return false;
}

void RunningMilter::write_rules(std::string_view text) const {
  std::ofstream(directory_ / "rewrite.new") << text;
  std::filesystem::rename(directory_ / "rewrite.new", directory_ / "rewrite");
}

}  // namespace bsmtp::test
