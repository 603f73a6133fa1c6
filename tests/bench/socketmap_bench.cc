// Look-ups per second that the socketmap of the real bsmtp-milter answers on one connection,
// pipelined, with 10 to 10^6 rules, in interleaved rounds with a peer that does the least a
// socketmap can do: one client, a bare walk over the parent domains in an std::unordered_map. Per
// second of the server's processor time (a core's worth) and of the clock. Usage: socketmap_bench
// [ROUNDS [LOOKUPS]]
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/socketmap/protocol.h"
#include "tests/support/temp_dir.h"

namespace {

using bsmtp::UniqueFd;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "socketmap_bench: %s\n", what.c_str());
  std::exit(1);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) {
      die("the server does not take requests");
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string domain_of(std::size_t number) {
  return "d" + std::to_string(number) + ".example.co.uk";
}

// --- the peer ------------------------------------------------------------------------------

class Peer {
 public:
  explicit Peer(std::size_t rules) {
    for (std::size_t i = 0; i < rules / 2; ++i) {
      table_.emplace(domain_of(i), "bsmtp-out:remote1.bsmtp.invalid");
      table_.emplace("." + domain_of(i), "bsmtp-out:remote1.bsmtp.invalid");
    }
  }
  void serve(int listener) const {
    for (;;) {
      const UniqueFd client(accept(listener, nullptr, nullptr));
      std::string in;
      std::string out;
      std::array<char, 16384> buffer{};
      for (ssize_t n = 0; (n = recv(client.get(), buffer.data(), buffer.size(), 0)) > 0;) {
        in.append(buffer.data(), static_cast<std::size_t>(n));
        std::string_view rest = in;
        for (;;) {
          const auto request = bsmtp::socketmap::parse_request(rest);
          if (request.outcome != bsmtp::socketmap::Outcome::kRequest) {
            break;
          }
          const std::string* value = find(request.key);
          bsmtp::socketmap::append_reply(out,
                                         value != nullptr ? bsmtp::socketmap::Answer::kOk
                                                          : bsmtp::socketmap::Answer::kNotFound,
                                         value != nullptr ? *value : "");
          rest.remove_prefix(request.consumed);
        }
        in.erase(0, in.size() - rest.size());
        send_all(client.get(), out);
        out.clear();
      }
    }
  }

 private:
  const std::string* find(std::string_view address) const {
    const std::string domain = bsmtp::to_lower(address.substr(address.rfind('@') + 1));
    if (const auto exact = table_.find(domain); exact != table_.end()) {
      return &exact->second;
    }
    for (std::size_t dot = domain.find('.'); dot != std::string::npos;
         dot = domain.find('.', dot + 1)) {
      if (const auto parent = table_.find(domain.substr(dot)); parent != table_.end()) {
        return &parent->second;
      }
    }
    return nullptr;
  }
  std::unordered_map<std::string, std::string> table_;
};

// --- servers -------------------------------------------------------------------------------

struct Server {
  std::string socket;
  pid_t pid = -1;
};

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = address_of(path);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fd.reset();
  }
  return fd;
}

void wait_for(const Server& server) {
  for (int i = 0; i < 3000; ++i) {
    if (connect_to(server.socket).valid()) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  die(server.socket + " does not come up");
}

Server start_milter(const std::string& directory, std::size_t rules) {
  std::ofstream text(directory + "/rewrite");
  for (std::size_t i = 0; i < rules / 2; ++i) {
    text << domain_of(i) << " $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
         << "." << domain_of(i) << " $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n";
  }
  text.close();
  std::ofstream(directory + "/bsmtp.conf")
      << "host = hub.domain.com\nspool-directory = " << directory
      << "\nrewrite-rules = " << directory << "/rewrite\nmilter-socket = unix:" << directory
      << "/milter.sock\nsocketmap-socket = unix:" << directory
      << "/ours.sock\n[peer.remote1]\nhost = athena.example.org\nrecipient-domains = *\n"
      << "openpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n";
  Server server{directory + "/ours.sock", fork()};
  if (server.pid == 0) {
    if (std::freopen((directory + "/milter.log").c_str(), "w", stderr) == nullptr) {
      _exit(126);
    }
    execl(BSMTP_MILTER, BSMTP_MILTER, "--config", (directory + "/bsmtp.conf").c_str(),
          "--foreground", nullptr);
    _exit(127);
  }
  wait_for(server);
  return server;
}

Server start_peer(const std::string& directory, std::size_t rules) {
  Server server{directory + "/peer.sock", fork()};
  if (server.pid == 0) {
    const Peer peer(rules);
    const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = address_of(server.socket);
    if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener.get(), 4) != 0) {
      _exit(1);
    }
    peer.serve(listener.get());
    _exit(0);
  }
  wait_for(server);
  return server;
}

void stop(const Server& server) {
  kill(server.pid, SIGKILL);
  waitpid(server.pid, nullptr, 0);
}

// --- measuring -----------------------------------------------------------------------------

double processor_time(pid_t pid) {
  clockid_t clock = 0;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    die("no processor clock");
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// A third exact hits, a third below a domain, a third misses.
std::string requests(std::string_view map, std::size_t rules, std::size_t count) {
  std::string out;
  std::uint64_t state = 88172645463325252ULL;
  for (std::size_t i = 0; i < count; ++i) {
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
    const char* const forms[] = {"user@", "user@mail.", "user@x"};
    const std::string payload =
        bsmtp::str_cat({map, " ", forms[i % 3], domain_of(state % (rules / 2))});
    out += std::to_string(payload.size()) + ":" + payload + ",";
  }
  return out;
}

struct Rate {
  double per_core_second = 0;
  double per_second = 0;
};

Rate run(const Server& server, const std::string& text, std::size_t count) {
  const UniqueFd fd = connect_to(server.socket);
  const double before = processor_time(server.pid);
  const auto begin = std::chrono::steady_clock::now();
  std::thread writer([&] { send_all(fd.get(), text); });
  std::array<char, 65536> buffer{};
  std::size_t answers = 0;
  while (answers < count) {
    const ssize_t n = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      die("the server closed the connection");
    }
    // No value has a comma.
    answers += static_cast<std::size_t>(std::count(buffer.data(), buffer.data() + n, ','));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const double processor = processor_time(server.pid) - before;
  writer.join();
  const auto number = static_cast<double>(count);
  return {number / processor, number / took.count()};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(std::size_t rules, std::string_view map, const Server& ours, const Server& peer,
             int rounds, std::size_t count) {
  const std::string text = requests(map, rules, count);
  run(ours, text, count);  // warm
  run(peer, text, count);
  std::vector<double> our_core;
  std::vector<double> our_clock;
  std::vector<double> peer_core;
  std::vector<double> ratio;
  for (int round = 0; round < rounds; ++round) {
    Rate us;
    Rate it;
    if (round % 2 == 0) {
      us = run(ours, text, count);
      it = run(peer, text, count);
    } else {
      it = run(peer, text, count);
      us = run(ours, text, count);
    }
    our_core.push_back(us.per_core_second);
    our_clock.push_back(us.per_second);
    peer_core.push_back(it.per_core_second);
    ratio.push_back(us.per_core_second / it.per_core_second);
  }
  std::printf("%9zu  %-12.*s  %9.0f  %9.0f  %9.0f  %5.2f\n", rules, static_cast<int>(map.size()),
              map.data(), median(our_core), median(our_clock), median(peer_core), median(ratio));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  const auto count = static_cast<std::size_t>(argc > 2 ? std::atol(argv[2]) : 300000);
  std::printf(
      "    rules  map           look-ups/s of a core, by the clock, peer of a core, ratio\n");
  for (const std::size_t rules : {std::size_t{10}, std::size_t{10000}, std::size_t{1000000}}) {
    const bsmtp::test::TempDir directory;
    const Server ours = start_milter(directory.path(), rules);
    const Server peer = start_peer(directory.path(), rules);
    for (const char* map : {"transport", "bsmtp_rules"}) {
      compare(rules, map, ours, peer, rounds, count);
    }
    stop(ours);
    stop(peer);
  }
  return 0;
}
