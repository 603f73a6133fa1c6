// A connected os::Socket as the SMTP client's Transport. Threads: as the socket.
#pragma once

#include <utility>

#include "common/os/socket.h"
#include "common/smtp/client.h"

namespace bsmtp::smtp {

class SocketTransport final : public Transport {
 public:
  explicit SocketTransport(os::Socket socket) : socket_(std::move(socket)) {}
  Result<std::size_t> read(std::span<char> out) override { return socket_.read(out); }
  Status write(std::string_view data) override { return socket_.write(data); }
  void set_timeout(std::chrono::seconds timeout) override { socket_.set_timeout(timeout); }
  void shutdown() override { socket_.shutdown_now(); }
  os::Socket& socket() { return socket_; }

 private:
  os::Socket socket_;
};

}  // namespace bsmtp::smtp
