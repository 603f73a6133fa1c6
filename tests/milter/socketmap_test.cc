// The socketmap of the real bsmtp-milter: answers, reload, hostile clients, start and stop.
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.h"
#include "tests/milter/running_milter.h"

namespace bsmtp::test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kTunneled = "34:OK bsmtp-out:remote1.bsmtp.invalid,";
constexpr std::string_view kNotFound = "9:NOTFOUND ,";

// A name that is free before the milter's own directory exists.
std::string map_path() {
  static std::atomic<int> number = 0;
  return "/tmp/socketmap." + std::to_string(getpid()) + "." + std::to_string(++number);
}

RunningMilter::Options with_map(const std::string& path) {
  return {"", "socketmap-socket = unix:" + path + "\n", true};
}

std::string request(std::string_view payload) {
  return std::to_string(payload.size()) + ":" + std::string(payload) + ",";
}

class MapClient {
 public:
  explicit MapClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ =
        connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  bool send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) {
        return false;
      }
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void end_input() const { shutdown(fd_.get(), SHUT_WR); }
  // `size` octets, fewer when the server closes or says nothing for `seconds`.
  std::string read(std::size_t size, int seconds = 20) const {
    std::string out;
    char buffer[4096];
    while (out.size() < size) {
      pollfd fd{fd_.get(), POLLIN, 0};
      if (poll(&fd, 1, seconds * 1000) <= 0) {
        break;
      }
      const ssize_t n = recv(fd_.get(), buffer, std::min(sizeof buffer, size - out.size()), 0);
      if (n <= 0) {
        closed_ = true;
        break;
      }
      out.append(buffer, static_cast<std::size_t>(n));
    }
    return out;
  }
  // All until the server closes.
  std::string read_to_end() const { return read(1U << 30U); }
  bool closed() const { return closed_; }
  std::string ask(std::string_view key, std::string_view answer) const {
    return send(request("transport " + std::string(key))) ? read(answer.size()) : "";
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
  mutable bool closed_ = false;
};

TEST(Socketmap, AnswersByTheRulesOfTheMilter) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  const MapClient client(path);
  EXPECT_EQ(client.ask("user@domain.co.uk", kTunneled), kTunneled);
  EXPECT_EQ(client.ask("user@example.net", kNotFound), kNotFound);
  EXPECT_EQ(client.ask("domain.co.uk", kNotFound), kNotFound);
  EXPECT_EQ(client.ask("bsmtp@athena.domain.co.uk", "4:OK :,"), "4:OK :,");
  ASSERT_TRUE(client.send(request("bsmtp_rules user@domain.co.uk")));
  EXPECT_EQ(client.read(46), "42:OK user%domain.co.uk@remote1.bsmtp.invalid,");
  ASSERT_TRUE(client.send(request("bsmtp_rules user@example.net")));
  EXPECT_EQ(client.read(12), "9:OK direct,");
  ASSERT_TRUE(client.send(request("nosuch user@domain.co.uk")));
  EXPECT_THAT(client.read(9), HasSubstr(":TEMP "));
  // The milter itself is served meanwhile.
  MilterClient mta = milter.client();
  EXPECT_EQ(mta.message({"<a@domain.com>"}, {{"<u@domain.co.uk>"}})->added.size(), 1U);
}

TEST(Socketmap, TheSocketHasTheMiltersMode) {
  const std::string path = map_path();
  const RunningMilter milter(
      {"", "socketmap-socket = unix:" + path + "\nmilter-socket-mode = 0620\n", true});
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0620U);
}

TEST(Socketmap, RequestsInAnyPortions) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  const MapClient client(path);
  for (const char c : request("transport user@domain.co.uk")) {
    ASSERT_TRUE(client.send(std::string_view(&c, 1)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(client.read(kTunneled.size()), kTunneled);
  // Far more answers than fit into any buffer, read only afterwards; then the end of input.
  constexpr std::size_t kMany = 100000;
  std::string many;
  std::string expected;
  for (std::size_t i = 0; i < kMany; ++i) {
    many += request(i % 2 == 0 ? "transport user@domain.co.uk" : "transport user@example.net");
    expected += i % 2 == 0 ? kTunneled : kNotFound;
  }
  std::thread writer([&] {
    EXPECT_TRUE(client.send(many));
    client.end_input();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(client.read_to_end() == expected);
  EXPECT_TRUE(client.closed());
  writer.join();
}

TEST(Socketmap, HostileTextClosesItsConnectionOnly) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  const MapClient good(path);
  for (const std::string& text :
       {std::string("GET / HTTP/1.0\r\n\r\n"), std::string("5000:"), std::string("-1:,"),
        std::string("0:,"), std::string("5:mapke,"), std::string(1U << 16U, '9'),
        request("transport user@domain.co.uk").substr(0, 30) + ";"}) {
    const MapClient client(path);
    static_cast<void>(client.send(text));  // the server may have closed before the end
    EXPECT_EQ(client.read_to_end(), "") << text.substr(0, 40);
    EXPECT_TRUE(client.closed()) << text.substr(0, 40);
  }
  // What came before is answered.
  const MapClient mixed(path);
  ASSERT_TRUE(mixed.send(request("transport user@domain.co.uk") + "x"));
  EXPECT_EQ(mixed.read_to_end(), kTunneled);
  EXPECT_EQ(good.ask("user@domain.co.uk", kTunneled), kTunneled);
  EXPECT_TRUE(milter.logs("socketmap-socket: a client sent what is no socketmap request"));
}

TEST(Socketmap, ReloadSwapsMilterAndMapAtOnce) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  const MapClient client(path);
  ASSERT_EQ(client.ask("user@domain.co.uk", kTunneled), kTunneled);
  milter.write_rules("example.org  $U%$H@BSOUT-REMOTE1\n");
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reloaded"));
  EXPECT_EQ(client.ask("user@domain.co.uk", kNotFound), kNotFound);
  EXPECT_EQ(client.ask("user@example.org", kTunneled), kTunneled);
  MilterClient mta = milter.client();
  EXPECT_EQ(mta.message({"<a@domain.com>"}, {{"<u@example.org>"}})->added.size(), 1U);
  milter.write_rules("example.org  $(bad)\n");
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reload-failed"));
  EXPECT_EQ(client.ask("user@example.org", kTunneled), kTunneled);
}

TEST(Socketmap, ReloadUnderLoadAnswersEveryRequest) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const MapClient client(path);
      while (!stop) {  // both sets of rules tunnel it
        wrong += client.ask("user@domain.co.uk", kTunneled) == kTunneled ? 0 : 1;
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    milter.write_rules(i % 3 == 0   ? "domain.co.uk  $U%domain.co.uk@BSOUT-REMOTE1\n"
                       : i % 3 == 1 ? kHubRules
                                    : "x $(bad)\n");
    milter.signal(SIGHUP);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Socketmap, AFullHouseMakesTheNextWait) {
  const std::string path = map_path();
  const RunningMilter milter(with_map(path));
  std::vector<std::unique_ptr<MapClient>> clients;
  for (int i = 0; i < 400; ++i) {
    clients.push_back(std::make_unique<MapClient>(path));
    ASSERT_EQ(clients.back()->ask("user@example.net", kNotFound), kNotFound) << i;
  }
  const MapClient late(path);
  ASSERT_TRUE(late.send(request("transport user@example.net")));
  EXPECT_EQ(late.read(kNotFound.size(), 1), "");
  clients.front().reset();
  EXPECT_EQ(late.read(kNotFound.size()), kNotFound);
}

TEST(Socketmap, StopsWithTheMilterAndLeavesNoSocket) {
  const std::string path = map_path();
  RunningMilter milter(with_map(path));
  const MapClient client(path);
  ASSERT_EQ(client.ask("user@domain.co.uk", kTunneled), kTunneled);
  milter.signal(SIGTERM);
  EXPECT_EQ(milter.wait(), 0) << milter.log();
  EXPECT_EQ(access(path.c_str(), F_OK), -1);
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_TRUE(client.closed());
}

TEST(Socketmap, ADaemonServesItToo) {
  const std::string path = map_path();
  RunningMilter milter({"", "socketmap-socket = unix:" + path + "\n", false});
  ASSERT_EQ(milter.start_daemon(), 0);
  EXPECT_EQ(MapClient(path).ask("user@domain.co.uk", kTunneled), kTunneled);
  milter.signal(SIGTERM);
  milter.wait();
}

TEST(Socketmap, AKilledOnesSocketIsReplaced) {
  const std::string path = map_path();
  RunningMilter milter(with_map(path));
  milter.signal(SIGKILL);
  milter.wait();
  ASSERT_EQ(access(path.c_str(), F_OK), 0);
  const std::size_t before = milter.log().size();
  ASSERT_TRUE(milter.start()) << milter.log();
  ASSERT_TRUE(milter.logs("started", before)) << milter.log();
  EXPECT_EQ(MapClient(path).ask("user@domain.co.uk", kTunneled), kTunneled);
  milter.signal(SIGTERM);
  milter.wait();
}

TEST(Socketmap, BadSocketsAreNamed) {
  for (const char* bad : {"inet:10999", "tcp:1@127.0.0.1", "unix:/nonexistent/socket"}) {
    RunningMilter milter({"", "socketmap-socket = " + std::string(bad) + "\n", false});
    EXPECT_FALSE(milter.start()) << bad;
    EXPECT_THAT(milter.log(), HasSubstr("socketmap-socket " + std::string(bad)));
  }
}

}  // namespace
}  // namespace bsmtp::test
