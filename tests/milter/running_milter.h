// RunningMilter: the real bsmtp-milter in a directory of its own, with the hub's rules, started
// in the foreground and ended by its own process id. What it logs is kept for the tests.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "tests/support/milter_client.h"

namespace bsmtp::test {

class RunningMilter {
 public:
  struct Options {
    std::string socket;         // "" = unix socket in the directory
    std::string configuration;  // further lines of the global section
    bool start = true;
  };
  RunningMilter() : RunningMilter(Options{}) {}
  explicit RunningMilter(Options options);
  RunningMilter(const RunningMilter&) = delete;
  RunningMilter& operator=(const RunningMilter&) = delete;
  ~RunningMilter();

  // Starts the program and waits until it says that it serves, or has ended.
  bool start();
  // The same without --foreground: returns the exit status of the command itself; the daemon it
  // leaves behind, found by its command line, is the process that the other functions mean.
  int start_daemon();
  // A connected client that has negotiated.
  MilterClient client() const;
  Result<MilterClient> open() const { return MilterClient::open(socket_); }

  void signal(int number) const;
  // Exit status, -1000 - N for a signal N, -1 when it still runs after `seconds`.
  int wait(int seconds = 40);
  bool running();
  std::string log() const;
  // True when a line with `text` appears (after `from` octets of the log) within 20 s.
  bool logs(std::string_view text, std::size_t from = 0) const;

  void write_rules(std::string_view text) const;
  const std::filesystem::path& directory() const { return directory_; }
  const std::string& socket() const { return socket_; }
  std::filesystem::path socket_file() const { return directory_ / "milter.sock"; }
  pid_t pid() const { return pid_; }

 private:
  std::filesystem::path directory_;
  std::string socket_;
  pid_t pid_ = -1;
  bool is_child_ = true;
};

// The hub's rules towards one peer.
inline constexpr std::string_view kHubRules =
    "domain.co.uk      $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
    ".domain.co.uk     $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n";

}  // namespace bsmtp::test
