#include "common/os/socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <thread>

namespace bsmtp::os {
namespace {

using std::chrono::milliseconds;

struct UrlCase {
  const char* name;
  const char* url;
  const char* shown;  // nullptr: refused
};

TEST(Endpoint, ParsesItsForms) {
  const UrlCase cases[] = {
      {"address and port", "smtp://127.0.0.1:25", "smtp://127.0.0.1:25"},
      {"IPv6", "smtp://[::1]:2525", "smtp://[::1]:2525"},
      {"IPv6 without port", "smtp://[::1]", "smtp://[::1]:25"},
      {"name without port", "smtp://mail.example", "smtp://mail.example:25"},
      {"trailing slash", "smtp://mail.example:587/", "smtp://mail.example:587"},
      {"Unix socket", "unix:/run/x.sock", "unix:/run/x.sock"},
      {"relative Unix socket", "unix:run/x.sock", nullptr},
      {"other scheme", "http://127.0.0.1:25", nullptr},
      {"port 0", "smtp://127.0.0.1:0", nullptr},
      {"port too large", "smtp://127.0.0.1:65536", nullptr},
      {"port missing", "smtp://127.0.0.1:", nullptr},
      {"host missing", "smtp://:25", nullptr},
      {"bracket open", "smtp://[::1:25", nullptr},
      {"junk behind bracket", "smtp://[::1]25", nullptr},
      {"user part", "smtp://u@host:25", nullptr},
      {"nothing", "", nullptr},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_endpoint(c.url);
    if (c.shown == nullptr) {
      EXPECT_FALSE(parsed.is_ok()) << c.name;
      EXPECT_TRUE(parsed.status().is_temporary()) << c.name;
    } else {
      ASSERT_TRUE(parsed.is_ok()) << c.name;
      EXPECT_EQ(parsed->to_string(), c.shown) << c.name;
    }
  }
}

// A listening port of the loopback interface.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 4), 0);
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    endpoint_.host = "127.0.0.1";
    endpoint_.port = ntohs(address.sin_port);
  }
  const Endpoint& endpoint() const { return endpoint_; }
  UniqueFd accept() const { return UniqueFd(::accept(fd_.get(), nullptr, nullptr)); }
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
  Endpoint endpoint_;
};

SocketOptions fast() {
  return {milliseconds(500), milliseconds(100)};
}

TEST(Socket, TalksToAListener) {
  const Listener listener;
  auto socket = Socket::connect(listener.endpoint(), fast());
  ASSERT_TRUE(socket.is_ok());
  const UniqueFd server = listener.accept();
  ASSERT_EQ(::send(server.get(), "220 hi\r\n", 8, 0), 8);
  std::array<char, 64> block{};
  EXPECT_EQ(*socket->read(block), 8U);
  EXPECT_TRUE(socket->write("QUIT\r\n").is_ok());
  EXPECT_EQ(::recv(server.get(), block.data(), block.size(), 0), 6);
}

int delays_no_acknowledgement(const Socket& socket) {
  int on = -1;
  socklen_t size = sizeof on;
  EXPECT_EQ(::getsockopt(socket.fd(), IPPROTO_TCP, TCP_QUICKACK, &on, &size), 0);
  return on;
}

// Its rest may be held back there until then, 40 ms a time.
TEST(Socket, WhoWaitsForMoreHasAcknowledgedWhatCame) {
  const Listener listener;
  auto socket = Socket::connect(listener.endpoint(), fast());
  ASSERT_TRUE(socket.is_ok());
  const UniqueFd server = listener.accept();
  std::array<char, 10> block{};
  // After some turns the system takes both sides for people who answer each other, and after a
  // pause on a busy machine no more.
  for (int turn = 0; turn < 20 || (delays_no_acknowledgement(*socket) != 0 && turn < 1000);
       ++turn) {
    ASSERT_TRUE(socket->write("command").is_ok());
    ASSERT_EQ(::recv(server.get(), block.data(), block.size(), 0), 7);
    ASSERT_EQ(::send(server.get(), "250", 3, 0), 3);
    ASSERT_EQ(*socket->read(block), 3U);
  }
  ASSERT_EQ(delays_no_acknowledgement(*socket), 0);
  socket->set_timeout(milliseconds(5));  // before the system does it by itself
  EXPECT_FALSE(socket->read(block).is_ok()) << "nothing more comes";
  EXPECT_EQ(delays_no_acknowledgement(*socket), 1);
}

TEST(Socket, ASilentPeerIsTemporary442) {
  const Listener listener;
  auto socket = Socket::connect(listener.endpoint(), fast());
  ASSERT_TRUE(socket.is_ok());
  std::array<char, 64> block{};
  EXPECT_EQ(socket->read(block).status().code(), "4.4.2");
  EXPECT_FALSE(*socket->readable(milliseconds(1)));
}

TEST(Socket, APeerThatTakesNothingIsTemporary442) {
  const Listener listener;
  auto socket = Socket::connect(listener.endpoint(), fast());
  ASSERT_TRUE(socket.is_ok());
  const UniqueFd server = listener.accept();
  EXPECT_EQ(socket->write(std::string(32U << 20U, 'x')).code(), "4.4.2");
}

TEST(Socket, AClosedPortIsTemporary441) {
  Listener listener;
  const Endpoint endpoint = listener.endpoint();
  listener.close();
  EXPECT_EQ(Socket::connect(endpoint, fast()).status().code(), "4.4.1");
}

TEST(Socket, AnUnknownNameIsTemporary441) {
  Endpoint endpoint;
  endpoint.host = "no-such-host.invalid";
  EXPECT_EQ(Socket::connect(endpoint, fast()).status().code(), "4.4.1");
}

TEST(Socket, AMissingUnixSocketIsTemporary441) {
  Endpoint endpoint;
  endpoint.path = "/nonexistent/bsmtp.sock";
  EXPECT_EQ(Socket::connect(endpoint, fast()).status().code(), "4.4.1");
}

TEST(Socket, TheEndIsZeroOctetsAndWritingToItNoSignal) {
  const Listener listener;
  auto socket = Socket::connect(listener.endpoint(), fast());
  ASSERT_TRUE(socket.is_ok());
  listener.accept().reset();
  std::array<char, 8> block{};
  EXPECT_EQ(*socket->read(block), 0U);
  Status status;
  for (int i = 0; i < 50 && status.is_ok(); ++i) {
    status = socket->write("x");
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(status.code(), "4.4.2");
}

TEST(Socket, ShutdownFromAnotherThreadEndsARead) {
  const Listener listener;
  SocketOptions options = fast();
  options.io_timeout = milliseconds(20000);
  auto socket = Socket::connect(listener.endpoint(), options);
  ASSERT_TRUE(socket.is_ok());
  const UniqueFd server = listener.accept();
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(30));
    socket->shutdown_now();
  });
  std::array<char, 8> block{};
  const auto n = socket->read(block);
  other.join();
  EXPECT_TRUE(!n.is_ok() || *n == 0);
}

}  // namespace
}  // namespace bsmtp::os
