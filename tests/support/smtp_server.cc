#include "tests/support/smtp_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <utility>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// The socket interface wants its own base type.
sockaddr* generic(sockaddr_in& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

bool send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

SmtpServer::SmtpServer(Options options) : options_(std::move(options)) {
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  BSMTP_CHECK(::bind(listener_.get(), generic(address), length) == 0);
  BSMTP_CHECK(::listen(listener_.get(), 8) == 0);
  BSMTP_CHECK(::getsockname(listener_.get(), generic(address), &length) == 0);
  port_ = ntohs(address.sin_port);
  std::array<int, 2> ends{};
  BSMTP_CHECK(::pipe(ends.data()) == 0);
  stop_read_.reset(ends[0]);
  stop_write_.reset(ends[1]);
  thread_ = std::thread([this] { run(); });
}

SmtpServer::~SmtpServer() {
  stop_write_.reset();  // the poll in run() and serve() sees the end of the pipe
  thread_.join();
}

UniqueFd SmtpServer::connect() const {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(port_);
  BSMTP_CHECK(::connect(fd.get(), generic(address), sizeof address) == 0);
  const std::lock_guard<std::mutex> lock(mutex_);
  ++connected_;
  return fd;
}

void SmtpServer::settle(std::unique_lock<std::mutex>& lock) const {
  changed_.wait_for(lock, std::chrono::seconds(10), [this] { return served_ >= connected_; });
}

std::vector<SmtpServer::Message> SmtpServer::messages() const {
  std::unique_lock<std::mutex> lock(mutex_);
  settle(lock);
  return messages_;
}

std::vector<std::string> SmtpServer::commands() const {
  std::unique_lock<std::mutex> lock(mutex_);
  settle(lock);
  return commands_;
}

std::size_t SmtpServer::reads() const {
  std::unique_lock<std::mutex> lock(mutex_);
  settle(lock);
  return reads_;
}

void SmtpServer::run() {
  for (;;) {
    std::array<pollfd, 2> wait{{{listener_.get(), POLLIN, 0}, {stop_read_.get(), POLLIN, 0}}};
    ::poll(wait.data(), wait.size(), -1);
    if (wait[1].revents != 0) return;
    const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) continue;
    // Replies to pipelined commands leave at once, one by one.
    const int one = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    serve(fd.get());
    const std::lock_guard<std::mutex> lock(mutex_);
    ++served_;
    changed_.notify_all();
  }
}

// Gives the scripted or usual reply; false when the connection is to be closed.
bool SmtpServer::reply_to(Session& session, const std::string& command, const std::string& usual,
                          std::string& given) {
  given = options_.script ? options_.script(command) : "";
  if (given == "CLOSE") return false;
  if (given.starts_with("SLEEP ")) {
    const auto time = parse_u64(given.substr(6)).value_or(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(time));
    given.clear();
  }
  if (given.empty()) {
    given = usual;
  }
  return send_all(session.fd, given) && !given.starts_with("421") && !given.starts_with("221");
}

std::string SmtpServer::usual_reply(const Session& session, const std::string& command) const {
  if (istarts_with(command, "EHLO ")) {
    std::string reply = "250-fake.example\r\n";
    for (const std::string& keyword : options_.ehlo) {
      reply += "250-" + keyword + "\r\n";
    }
    return reply + "250 HELP\r\n";
  }
  if (istarts_with(command, "MAIL FROM:")) return "250 2.1.0 sender ok\r\n";
  if (istarts_with(command, "RCPT TO:")) return "250 2.1.5 recipient ok\r\n";
  if (iequals(command, "DATA")) {
    return session.has_recipient ? "354 go ahead\r\n" : "503 5.5.1 no recipient\r\n";
  }
  if (iequals(command, "QUIT")) return "221 2.0.0 bye\r\n";
  const bool known =
      istarts_with(command, "HELO ") || iequals(command, "RSET") || iequals(command, "NOOP");
  return known ? "250 2.0.0 ok\r\n" : "500 5.5.2 unknown command\r\n";
}

bool SmtpServer::take_command(Session& session) {
  const std::size_t end = session.input.find("\r\n");
  const std::string command = session.input.substr(0, end);
  session.input.erase(0, end + 2);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    commands_.push_back(command);
  }
  std::string given;
  const bool go_on = reply_to(session, command, usual_reply(session, command), given);
  const bool accepted = given.starts_with('2');
  if (istarts_with(command, "MAIL FROM:")) {
    session.message = {};
    session.message.mail = command;
    session.has_recipient = false;
  } else if (istarts_with(command, "RCPT TO:")) {
    session.message.rcpts.push_back(command);
    session.has_recipient = session.has_recipient || accepted;
  } else if (iequals(command, "DATA")) {
    session.in_text = given.starts_with("354");
  }
  return go_on;
}

bool SmtpServer::take_text(Session& session) {
  std::string& text = session.message.text;
  text += std::exchange(session.input, {});
  const std::uint64_t limit = options_.close_in_text_after;
  if (limit != 0 && text.size() > limit) return false;
  const bool empty = text.starts_with(".\r\n");
  const std::size_t end = empty ? 0 : text.find("\r\n.\r\n");
  if (end == std::string::npos) return true;
  const std::size_t size = empty ? 0 : end + 2;
  session.input = text.substr(size + 3);
  text.resize(size);
  session.message.ended = true;
  session.in_text = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    messages_.push_back(session.message);
  }
  std::string given;
  return reply_to(session, "<text>", "250 2.0.0 queued as FAKE\r\n", given);
}

void SmtpServer::serve(int fd) {
  Session session;
  session.fd = fd;
  std::string given;
  if (!reply_to(session, "<connect>", "220 fake.example ESMTP\r\n", given)) return;
  for (;;) {
    std::array<pollfd, 2> wait{{{fd, POLLIN, 0}, {stop_read_.get(), POLLIN, 0}}};
    ::poll(wait.data(), wait.size(), -1);
    if (wait[1].revents != 0) return;
    std::array<char, 65536> block;  // NOLINT: filled by read before use
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n <= 0) break;
    session.input.append(block.data(), static_cast<std::size_t>(n));
    if (!session.in_text) {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++reads_;
    }
    bool go_on = true;
    while (go_on && (session.in_text ? !session.input.empty()
                                     : session.input.find("\r\n") != std::string::npos)) {
      go_on = session.in_text ? take_text(session) : take_command(session);
    }
    if (!go_on) return;
  }
  if (session.in_text) {  // the client gave up in the middle
    const std::lock_guard<std::mutex> lock(mutex_);
    messages_.push_back(session.message);
  }
}

}  // namespace bsmtp::test
