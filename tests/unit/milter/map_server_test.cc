// How long MapServer bears a client: slow, silent, half-closed, deaf; with limits of a fraction of
// a second.
#include "milter/map_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace bsmtp::milter {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kRequest = "36:transport user@domain.co.uk.example.,";
constexpr std::string_view kAnswer = "9:NOTFOUND ,";

std::shared_ptr<const Policy> policy_of_rules() {
  config::Config config;
  config.host = "hub.domain.com";
  return *Policy::parse(config, "");
}

class Client {
 public:
  explicit Client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  bool send(std::string_view text, int flags = 0) const {
    errno = 0;
    return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | flags) ==
           static_cast<ssize_t>(text.size());
  }
  void end_input() const { shutdown(fd_.get(), SHUT_WR); }
  // What comes within 5 s; "closed" when the server has closed, "silent" when nothing comes.
  std::string read() const {
    pollfd fd{fd_.get(), POLLIN, 0};
    if (poll(&fd, 1, 5000) <= 0) {
      return "silent";
    }
    std::string out(4096, '\0');
    const ssize_t n = recv(fd_.get(), out.data(), out.size(), 0);
    return n <= 0 ? "closed" : out.substr(0, static_cast<std::size_t>(n));
  }
  // Waits at most 5 s until the server has closed; milliseconds, -1 when it has not.
  long closed_after() const {
    const auto begin = Clock::now();
    std::string got;
    do {
      got = read();
    } while (got != "closed" && got != "silent" && Clock::now() - begin < milliseconds(5000));
    return got != "closed" ? -1
                           : std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
  }

 private:
  UniqueFd fd_;
};

class MapServerLimits : public ::testing::Test {
 protected:
  void start(const MapLimits& limits) {
    server_.emplace(policies_, limits);
    ASSERT_TRUE(server_->open("unix:" + path_, 0600).is_ok());
    ASSERT_TRUE(server_->start().is_ok());
  }
  static MapLimits limits(int idle, int full_idle, int request) {
    return {milliseconds(idle), milliseconds(full_idle), milliseconds(request), milliseconds(20)};
  }

  test::TempDir directory_;
  std::string path_ = directory_.path() + "/map.sock";
  PolicyHolder policies_{policy_of_rules()};
  std::optional<MapServer> server_;
};

TEST_F(MapServerLimits, HalfARequestIsWaitedForAndThenCutOff) {
  start(limits(60000, 60000, 300));
  const Client half(path_);
  ASSERT_TRUE(half.send(kRequest.substr(0, 20)));
  const Client good(path_);
  ASSERT_TRUE(good.send(kRequest));
  EXPECT_EQ(good.read(), kAnswer) << "others do not notice";
  EXPECT_GE(half.closed_after(), 200);
  ASSERT_TRUE(good.send(kRequest));
  EXPECT_EQ(good.read(), kAnswer) << "one at rest is not cut off";
}

TEST_F(MapServerLimits, OctetsThatDripDoNotExtendIt) {
  start(limits(60000, 60000, 300));
  const Client slow(path_);
  const auto begin = Clock::now();
  std::size_t sent = 0;
  while (sent < kRequest.size() && slow.send(kRequest.substr(sent, 1))) {
    ++sent;
    std::this_thread::sleep_for(milliseconds(40));
  }
  EXPECT_LT(sent, kRequest.size());
  EXPECT_LT(Clock::now() - begin, milliseconds(4000));
}

TEST_F(MapServerLimits, OneThatReadsNoAnswersIsCutOff) {
  start(limits(60000, 60000, 300));
  const Client deaf(path_);
  const auto begin = Clock::now();
  // Until the server takes no more: its answers have filled every buffer.
  while (deaf.send(kRequest, MSG_DONTWAIT) || errno == EAGAIN) {
    ASSERT_LT(Clock::now() - begin, milliseconds(10000)) << "never cut off";
    if (errno == EAGAIN) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  EXPECT_EQ(errno, EPIPE);
  const Client good(path_);
  ASSERT_TRUE(good.send(kRequest));
  EXPECT_EQ(good.read(), kAnswer);
}

TEST_F(MapServerLimits, AHalfClosedClientGetsWhatItAskedFor) {
  start(limits(60000, 60000, 60000));
  const Client whole(path_);
  ASSERT_TRUE(whole.send(kRequest));
  whole.end_input();
  EXPECT_EQ(whole.read(), kAnswer);
  EXPECT_EQ(whole.read(), "closed");
  const Client half(path_);
  ASSERT_TRUE(half.send(kRequest.substr(0, 20)));
  half.end_input();
  EXPECT_EQ(half.read(), "closed") << "no more can come";
}

TEST_F(MapServerLimits, AnIdleClientIsCutOffLate) {
  start(limits(600, 60000, 60000));
  const Client idle(path_);
  ASSERT_TRUE(idle.send(kRequest));
  EXPECT_EQ(idle.read(), kAnswer);
  EXPECT_GE(idle.closed_after(), 400);
}

TEST_F(MapServerLimits, WhenTheHouseIsFullIdleOnesMakeWay) {
  start(limits(60000, 300, 60000));
  std::vector<Client> clients;
  for (std::size_t i = 0; i < kMaxConnections; ++i) {
    clients.emplace_back(path_);
    ASSERT_TRUE(clients.back().send(kRequest));
    ASSERT_EQ(clients.back().read(), kAnswer);
  }
  const Client late(path_);
  ASSERT_TRUE(late.send(kRequest));
  EXPECT_EQ(late.read(), kAnswer);
}

}  // namespace
}  // namespace bsmtp::milter
