#include "tests/support/milter_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/text.h"

namespace bsmtp::test {
namespace {

constexpr int kTimeoutMs = 20000;
constexpr std::uint32_t kVersion = 6;

std::string number(std::uint32_t value) {
  const std::uint32_t net = htonl(value);
  std::string out(sizeof net, '\0');
  std::memcpy(out.data(), &net, sizeof net);
  return out;
}

std::uint32_t number_at(std::string_view data, std::size_t offset) {
  std::uint32_t net = 0;
  if (offset + sizeof net <= data.size()) {
    std::memcpy(&net, data.data() + offset, sizeof net);
  }
  return ntohl(net);
}

std::string zero_terminated(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += word;
    out.push_back('\0');
  }
  return out;
}

// Up to the next NUL; moves `data` behind it.
std::string take_string(std::string_view& data) {
  const std::size_t end = data.find('\0');
  std::string out(data.substr(0, end));
  data.remove_prefix(end == std::string_view::npos ? data.size() : end + 1);
  return out;
}

Status failed(const std::string& what) {
  return Status::temporary("4.3.0", "milter client: " + what);
}

Result<UniqueFd> open_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return failed(path + " is too long");
  }
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(path, errno);
  }
  return fd;
}

Result<UniqueFd> open_inet(std::string_view port_at_host) {
  const std::size_t at = port_at_host.find('@');
  const auto port = parse_u64(port_at_host.substr(0, at));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (at == std::string_view::npos || !port ||
      inet_pton(AF_INET, std::string(port_at_host.substr(at + 1)).c_str(), &address.sin_addr) !=
          1) {
    return failed("inet:PORT@ADDRESS expected");
  }
  address.sin_port = htons(static_cast<std::uint16_t>(*port));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno("connect", errno);
  }
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

}  // namespace

Result<MilterClient> MilterClient::open(const std::string& socket) {
  UniqueFd fd;
  if (socket.starts_with("inet:")) {
    TRY_ASSIGN(fd, open_inet(std::string_view(socket).substr(5)));
  } else {
    TRY_ASSIGN(fd, open_unix(socket.starts_with("unix:") ? socket.substr(5) : socket));
  }
  return MilterClient(std::move(fd));
}

Status MilterClient::send_raw(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(fd_.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) {
      return Status::from_errno("milter client: send", errno);
    }
    octets.remove_prefix(n < 0 ? 0 : static_cast<std::size_t>(n));
  }
  return Status::ok();
}

Status MilterClient::flush() {
  const std::string data = std::move(out_);
  out_.clear();
  return send_raw(data);
}

Status MilterClient::send(char command, std::string_view payload) {
  out_ += number(static_cast<std::uint32_t>(payload.size() + 1));
  out_.push_back(command);
  out_ += payload;
  return out_.size() > 32768 ? flush() : Status::ok();
}

Status MilterClient::fill(std::size_t octets) {
  while (in_.size() < octets) {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (::poll(&wait, 1, kTimeoutMs) <= 0) {
      return failed("no answer");
    }
    std::array<char, 8192> block;
    const ssize_t n = ::recv(fd_.get(), block.data(), block.size(), 0);
    if (n == 0 || (n < 0 && errno != EINTR)) {
      return failed("the filter closed the connection");
    }
    in_.append(block.data(), n < 0 ? 0 : static_cast<std::size_t>(n));
  }
  return Status::ok();
}

Result<MilterClient::Packet> MilterClient::receive() {
  TRY(flush());
  TRY(fill(5));
  const std::size_t length = number_at(in_, 0);
  if (length == 0 || length > (1U << 20U)) {
    return failed("a packet of impossible length");
  }
  TRY(fill(4 + length));
  Packet packet{in_[4], in_.substr(5, length - 1)};
  in_.erase(0, 4 + length);
  return packet;
}

void MilterClient::end_input() {
  static_cast<void>(flush().is_ok());
  ::shutdown(fd_.get(), SHUT_WR);
}

bool MilterClient::closed() {
  static_cast<void>(flush().is_ok());
  for (;;) {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (::poll(&wait, 1, kTimeoutMs) <= 0) {
      return false;
    }
    std::array<char, 8192> block;
    if (::recv(fd_.get(), block.data(), block.size(), 0) <= 0) {
      return true;
    }
  }
}

Status MilterClient::negotiate(std::uint32_t actions, std::uint32_t steps) {
  TRY(send('O', number(kVersion) + number(actions) + number(steps)));
  Packet packet;
  TRY_ASSIGN(packet, receive());
  if (packet.command != 'O' || packet.payload.size() < 12) {
    return failed("no answer to the negotiation");
  }
  actions_ = number_at(packet.payload, 4);
  steps_ = number_at(packet.payload, 8);
  std::string_view rest = std::string_view(packet.payload).substr(12);
  while (rest.size() > 4) {
    const std::uint32_t stage = number_at(rest, 0);
    rest.remove_prefix(4);
    symbols_[stage] = take_string(rest);
  }
  return Status::ok();
}

void MilterClient::set_macros(char command,
                              std::vector<std::pair<std::string, std::string>> macros) {
  macros_[command] = std::move(macros);
}

Status MilterClient::send_macros(char command) {
  const auto found = macros_.find(command);
  if (found == macros_.end()) {
    return Status::ok();
  }
  std::string payload(1, command);
  for (const auto& [name, value] : found->second) {
    payload += zero_terminated({name, value});
  }
  return send('D', payload);
}

Result<char> MilterClient::step(char command, std::string_view payload, std::uint32_t quiet_bit) {
  TRY(send_macros(command));
  TRY(send(command, payload));
  if ((steps_ & quiet_bit) != 0) {
    return 'c';
  }
  Packet packet;
  do {
    TRY_ASSIGN(packet, receive());
  } while (packet.command == 'p');
  return packet.command;
}

Result<char> MilterClient::connect(const std::string& host, const std::string& address) {
  if ((steps_ & kStepNoConnect) != 0) {
    return 'c';
  }
  const bool v6 = address.find(':') != std::string::npos;
  std::string payload = zero_terminated({host});
  payload += v6 ? '6' : '4';
  payload += std::string("\x30\x39", 2);  // port 12345
  payload += zero_terminated({v6 ? "IPv6:" + address : address});
  return step('C', payload, kStepQuietConnect);
}

Result<char> MilterClient::helo(const std::string& name) {
  return (steps_ & kStepNoHelo) != 0 ? Result<char>('c')
                                     : step('H', zero_terminated({name}), 0x2000);
}

Result<char> MilterClient::mail(const std::vector<std::string>& arguments) {
  return (steps_ & kStepNoMail) != 0 ? Result<char>('c')
                                     : step('M', zero_terminated(arguments), kStepQuietMail);
}

Result<char> MilterClient::rcpt(const std::vector<std::string>& arguments) {
  return (steps_ & kStepNoRcpt) != 0 ? Result<char>('c')
                                     : step('R', zero_terminated(arguments), kStepQuietRcpt);
}

Result<char> MilterClient::data() {
  return (steps_ & kStepNoData) != 0 ? Result<char>('c') : step('T', "", 0x10000);
}

Result<char> MilterClient::header(const std::string& name, const std::string& value) {
  return (steps_ & kStepNoHeaders) != 0 ? Result<char>('c')
                                        : step('L', zero_terminated({name, value}), 0x80);
}

Result<char> MilterClient::end_of_header() {
  return (steps_ & kStepNoEndOfHeader) != 0 ? Result<char>('c') : step('N', "", 0x40000);
}

Result<char> MilterClient::body(std::string_view chunk) {
  return (steps_ & kStepNoBody) != 0 ? Result<char>('c') : step('B', chunk, 0x80000);
}

Result<Outcome> MilterClient::end_of_message() {
  TRY(send_macros('E'));
  TRY(send('E', ""));
  Outcome outcome;
  for (;;) {
    Packet packet;
    TRY_ASSIGN(packet, receive());
    std::string_view data = packet.payload;
    switch (packet.command) {
      case 'p':
        break;
      case '+':
      case '2': {
        RecipientAddition addition;
        addition.with_args = packet.command == '2';
        addition.address = take_string(data);
        addition.args = take_string(data);
        outcome.added.push_back(std::move(addition));
        outcome.order.push_back(packet.command);
        break;
      }
      case '-':
        outcome.deleted.push_back(take_string(data));
        outcome.order.push_back('-');
        break;
      case 'c':
      case 'a':
      case 't':
      case 'r':
      case 'd':
      case 'y':
        outcome.reply = packet.command;
        outcome.text = take_string(data);
        return outcome;
      default:  // a change that the tests do not expect shows in `order`
        outcome.order.push_back(packet.command);
    }
  }
}

Status MilterClient::abort() {
  TRY(send('A', ""));
  return flush();
}

Status MilterClient::quit() {
  TRY(send('Q', ""));
  return flush();
}

Status MilterClient::begin() {
  TRY(negotiate());
  char reply = '\0';
  TRY_ASSIGN(reply, connect());
  return reply == 'c' ? Status::ok() : failed("connect was refused");
}

Result<Outcome> MilterClient::message(const std::vector<std::string>& sender,
                                      const std::vector<std::vector<std::string>>& recipients) {
  char reply = '\0';
  TRY_ASSIGN(reply, mail(sender));
  for (const auto& recipient : recipients) {
    TRY_ASSIGN(reply, rcpt(recipient));
    if (reply != 'c') {
      return failed("a recipient was refused");
    }
  }
  TRY_ASSIGN(reply, data());
  TRY_ASSIGN(reply, header("Subject", "test"));
  TRY_ASSIGN(reply, end_of_header());
  TRY_ASSIGN(reply, body("text\r\n"));
  return end_of_message();
}

}  // namespace bsmtp::test
