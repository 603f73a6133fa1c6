#include "common/os/socket.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::string_view kSmtp = "smtp://";
constexpr std::string_view kUnix = "unix:";

Status unreachable(const std::string& name, std::string_view why) {
  return Status::temporary("4.4.1", str_cat({"connect to ", name, ": ", why}));
}

// >0 ready, 0 time is up, <0 errno.
int poll_fd(int fd, short events, milliseconds limit) {
  const SteadyTime end = std::chrono::steady_clock::now() + limit;
  pollfd p{fd, events, 0};
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(
        std::max(end - std::chrono::steady_clock::now(), SteadyTime::duration::zero()));
    const int rc = ::poll(&p, 1, static_cast<int>(left.count()));
    if (rc >= 0 || errno != EINTR) {
      return rc;
    }
  }
}

Result<UniqueFd> connect_address(int family, const sockaddr* address, socklen_t length,
                                 const std::string& name, milliseconds limit) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return Status::from_errno("socket", errno);
  }
  if (::connect(fd.get(), address, length) == 0) {
    return fd;
  }
  // A full backlog of a Unix socket is EAGAIN: nothing to wait for.
  if (errno != EINPROGRESS && errno != EINTR) {
    return unreachable(name, std::strerror(errno));
  }
  const int ready = poll_fd(fd.get(), POLLOUT, limit);
  if (ready <= 0) {
    return unreachable(name, ready == 0 ? "no answer in time" : std::strerror(errno));
  }
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    return unreachable(name, std::strerror(error));
  }
  return fd;
}

Result<UniqueFd> connect_unix(const Endpoint& endpoint, milliseconds limit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (endpoint.path.size() >= sizeof address.sun_path) {
    return Status::temporary("4.3.5", endpoint.path + ": too long for a socket's name");
  }
  std::memcpy(address.sun_path, endpoint.path.data(), endpoint.path.size());
  return connect_address(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address,
                         endpoint.to_string(), limit);
}

Result<UniqueFd> connect_inet(const Endpoint& endpoint, milliseconds limit) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const std::string port = std::to_string(endpoint.port);
  const int rc = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &raw);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(raw, ::freeaddrinfo);
  const std::string name = endpoint.to_string();
  if (rc != 0) {
    return unreachable(name, ::gai_strerror(rc));
  }
  Status last = unreachable(name, "no address");
  for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next) {
    auto fd = connect_address(a->ai_family, a->ai_addr, a->ai_addrlen, name, limit);
    if (fd.is_ok()) {
      // What is written is complete as it is; holding back the end of a text gains nothing.
      const int on = 1;
      ::setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return fd;
    }
    last = fd.status();
  }
  return last;
}

}  // namespace

std::string Endpoint::to_string() const {
  if (is_unix()) {
    return str_cat({kUnix, path});
  }
  const bool v6 = host.find(':') != std::string::npos;
  return str_cat({kSmtp, v6 ? "[" : "", host, v6 ? "]" : "", ":", std::to_string(port)});
}

Result<Endpoint> parse_endpoint(std::string_view url) {
  const auto bad = [&] {
    return Status::temporary("4.3.5",
                             str_cat({"'", printable(url, 100),
                                      "' is not an address of the form smtp://127.0.0.1:25, "
                                      "smtp://[::1]:25 or unix:/path"}));
  };
  Endpoint out;
  if (url.starts_with(kUnix)) {
    out.path = url.substr(kUnix.size());
    return out.path.starts_with('/') ? Result<Endpoint>(out) : bad();
  }
  if (!url.starts_with(kSmtp)) {
    return bad();
  }
  url.remove_prefix(kSmtp.size());
  if (url.ends_with('/')) {
    url.remove_suffix(1);
  }
  std::string_view port;
  if (url.starts_with('[')) {
    const auto close = url.find(']');
    if (close == std::string_view::npos) {
      return bad();
    }
    out.host = url.substr(1, close - 1);
    port = url.substr(close + 1);
    if (!port.empty() && port.front() != ':') {
      return bad();
    }
  } else {
    const auto colon = url.find(':');
    out.host = url.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : url.substr(colon);
  }
  if (!port.empty()) {
    const auto number = parse_u64(port.substr(1));
    if (!number || *number == 0 || *number > 65535) {
      return bad();
    }
    out.port = static_cast<std::uint16_t>(*number);
  }
  if (out.host.empty() || out.host.find_first_of("/@ \t\r\n[]") != std::string::npos) {
    return bad();
  }
  return out;
}

Result<Socket> Socket::connect(const Endpoint& endpoint, const SocketOptions& options) {
  auto fd = endpoint.is_unix() ? connect_unix(endpoint, options.connect_timeout)
                               : connect_inet(endpoint, options.connect_timeout);
  if (!fd.is_ok()) {
    return fd.status();
  }
  return Socket(std::move(fd).value(), endpoint.to_string(), options);
}

Socket::Socket(UniqueFd fd, std::string name, const SocketOptions& options)
    : fd_(std::move(fd)), name_(std::move(name)), timeout_(options.io_timeout) {}

Status Socket::wait_for(short events, milliseconds limit, std::string_view doing) {
  const int ready = poll_fd(fd_.get(), events, limit);
  if (ready > 0) {
    return Status::ok();
  }
  if (ready < 0) {
    return Status::from_errno(str_cat({doing, " ", name_}), errno);
  }
  return Status::temporary("4.4.2", str_cat({doing, " ", name_, ": silent for ",
                                             std::to_string(limit.count() / 1000), " s"}));
}

Result<std::size_t> Socket::read(std::span<char> out) {
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), out.data(), out.size(), MSG_DONTWAIT);
    if (n >= 0) {
      unanswered_ = true;
      return static_cast<std::size_t>(n);
    }
    if (errno != EAGAIN && errno != EINTR) {
      return Status::temporary("4.4.2", str_cat({"read ", name_, ": ", std::strerror(errno)}));
    }
    if (std::exchange(unanswered_, false)) {
      acknowledge();
    }
    TRY(wait_for(POLLIN, timeout_, "read"));
  }
}

// The other side may hold back the rest of its replies until the first is acknowledged (Nagle's
// algorithm, RFC 9293 3.7.4), and our system delays that by 40 ms in the hope of something to send
// along. There is nothing: we wait. Fails on what is no TCP connection, where it is not needed.
void Socket::acknowledge() {
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

Status Socket::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      unanswered_ = false;
      data.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) {
      return Status::temporary("4.4.2", str_cat({"write ", name_, ": ", std::strerror(errno)}));
    }
    TRY(wait_for(POLLOUT, timeout_, "write"));
  }
  return Status::ok();
}

Result<bool> Socket::readable(milliseconds wait) {
  const int ready = poll_fd(fd_.get(), POLLIN, wait);
  if (ready < 0) {
    return Status::from_errno("poll " + name_, errno);
  }
  return ready > 0;
}

void Socket::shutdown_now() {
  ::shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace bsmtp::os
