// Messages per second through bsmtp-milter and through the peers of milter_peer.cc, in interleaved
// rounds over the same protocol client; prints the median of the rounds' ratios, the counts that
// explain them, and resident memory. Usage: milter_bench [ROUNDS [MESSAGES]]
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/milter_client.h"

namespace {

using bsmtp::test::MilterClient;
namespace fs = std::filesystem;

constexpr int kMessagesPerConnection = 20;

struct Server {
  std::string name;
  std::string socket;
  pid_t pid = -1;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "milter_bench: %s\n", what.c_str());
  std::exit(1);
}

Server start(const std::string& name, const fs::path& directory,
             const std::vector<std::string>& command) {
  Server server{name, (directory / (name + ".sock")).string(), -1};
  std::vector<char*> argv;
  std::vector<std::string> words = command;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  server.pid = fork();
  if (server.pid == 0) {
    if (std::freopen((directory / (name + ".log")).c_str(), "w", stderr) == nullptr) {
      _exit(126);
    }
    execv(argv[0], argv.data());
    _exit(127);
  }
  for (int i = 0; i < 500; ++i) {
    if (MilterClient::open(server.socket).is_ok()) {
      return server;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  die(name + " does not start");
}

void write_configuration(const fs::path& directory) {
  // Ten thousand rules beside the one that matters: their number must not show.
  std::ofstream rules(directory / "rewrite");
  rules << ".domain.co.uk $U%$H$D@BSOUT-REMOTE1\ndomain.co.uk $U%$H@BSOUT-REMOTE1\n";
  for (int i = 0; i < 10000; ++i) {
    rules << "d" << i << ".example $U%$H@BSOUT-REMOTE1\n";
  }
  std::ofstream(directory / "bsmtp.conf")
      << "host = hub.domain.com\nspool-directory = " << directory.string() << "\n"
      << "rewrite-rules = " << directory.string() << "/rewrite\n"
      << "milter-socket = unix:" << directory.string() << "/ours.sock\n"
      << "[peer.remote1]\nhost = athena.example.org\nrecipient-domains = *\n"
      << "openpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n";
}

struct Counts {
  std::size_t changes = 0;
  std::size_t messages = 0;
  double processor = 0;
};

// Processor time of the process so far, in seconds.
double processor_time(pid_t pid) {
  clockid_t clock = 0;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    die("no processor clock");
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Messages per second.
double run(const Server& server, int messages, const std::string& recipient, Counts& counts) {
  const double processor = processor_time(server.pid);
  const auto begin = std::chrono::steady_clock::now();
  for (int sent = 0; sent < messages;) {
    auto client = MilterClient::open(server.socket);
    if (!client.is_ok() || !client->begin().is_ok()) {
      die(server.name + " does not answer");
    }
    for (int i = 0; i < kMessagesPerConnection && sent < messages; ++i, ++sent) {
      const auto outcome =
          client->message({"<alice@domain.com>", "SIZE=1000"}, {{recipient}, {"<bob@domain.com>"}});
      if (!outcome.is_ok() || outcome->reply != 'c') {
        die(server.name + " failed a message");
      }
      counts.changes += outcome->order.size();
      ++counts.messages;
    }
    static_cast<void>(client->quit().is_ok());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  counts.processor += processor_time(server.pid) - processor;
  return messages / took.count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string resident(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) {
      return line.substr(6);
    }
  }
  return "?";
}

void compare(const char* title, const Server& ours, const Server& peer, int rounds, int messages,
             const std::string& recipient) {
  std::vector<double> ratios;
  std::vector<double> our_rates;
  std::vector<double> peer_rates;
  Counts our_counts;
  Counts peer_counts;
  run(ours, messages / 4, recipient, our_counts);  // warm
  run(peer, messages / 4, recipient, peer_counts);
  our_counts = peer_counts = {};
  for (int round = 0; round < rounds; ++round) {
    const bool we_first = round % 2 == 0;
    const double first =
        run(we_first ? ours : peer, messages, recipient, we_first ? our_counts : peer_counts);
    const double second =
        run(we_first ? peer : ours, messages, recipient, we_first ? peer_counts : our_counts);
    our_rates.push_back(we_first ? first : second);
    peer_rates.push_back(we_first ? second : first);
    ratios.push_back(our_rates.back() / peer_rates.back());
  }
  const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  const auto microseconds = [](const Counts& counts) {
    return counts.processor * 1e6 / static_cast<double>(counts.messages);
  };
  std::printf(
      "%-28s ours %6.0f/s peer %6.0f/s ratio %.2f (%.2f-%.2f)  CPU %.1f/%.1f us  "
      "changes %zu/%zu\n",
      title, median(our_rates), median(peer_rates), median(ratios), *low, *high,
      microseconds(our_counts), microseconds(peer_counts), our_counts.changes / our_counts.messages,
      peer_counts.changes / peer_counts.messages);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  const int messages = argc > 2 ? std::atoi(argv[2]) : 1000;
  std::string name = "/tmp/milter-bench.XXXXXX";
  const fs::path directory = mkdtemp(name.data());
  write_configuration(directory);
  std::vector<Server> servers;
  servers.push_back(
      start("ours", directory,
            {BSMTP_MILTER, "--config", (directory / "bsmtp.conf").string(), "--foreground"}));
  for (const char* mode : {"nothing", "listen", "quiet-listen", "edit", "quiet-edit"}) {
    servers.push_back(start(mode, directory,
                            {MILTER_PEER, mode, "unix:" + (directory / mode).string() + ".sock"}));
  }
  const std::string plain = "<user@example.net>";
  const std::string tunneled = "<user@domain.co.uk>";
  compare("unmatched, no callbacks", servers[0], servers[1], rounds, messages, plain);
  compare("unmatched, listens", servers[0], servers[2], rounds, messages, plain);
  compare("unmatched, listens quietly", servers[0], servers[3], rounds, messages, plain);
  compare("diverted, minimal", servers[0], servers[4], rounds, messages, tunneled);
  compare("diverted, minimal and quiet", servers[0], servers[5], rounds, messages, tunneled);
  for (const Server& server : servers) {
    std::printf("peak resident %-12s %s\n", server.name.c_str(), resident(server.pid).c_str());
    kill(server.pid, SIGTERM);
  }
  for (const Server& server : servers) {
    waitpid(server.pid, nullptr, 0);
  }
  fs::remove_all(directory);
  return 0;
}
