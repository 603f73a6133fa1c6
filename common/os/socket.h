// Stream sockets for SMTP clients: connect with a time limit, then read and write with a time
// limit per operation. A peer that is silent for longer is a temporary 4.4.2; one that cannot
// be reached a temporary 4.4.1. Buffers nothing. SIGPIPE is never raised.
// Threads: one socket, one thread; shutdown_now() may come from another.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/stream.h"
#include "common/base/unique_fd.h"

namespace bsmtp::os {

// smtp://127.0.0.1:25, smtp://[::1]:25, smtp://mail.example:587, unix:/run/x.sock
struct Endpoint {
  std::string host;         // address or name; empty for a Unix socket
  std::uint16_t port = 25;  // default when the URL names none
  std::string path;         // of a Unix socket
  bool is_unix() const { return !path.empty(); }
  std::string to_string() const;  // as in the URL
};

// Temporary 4.3.5 with the accepted forms for anything else.
Result<Endpoint> parse_endpoint(std::string_view url);

struct SocketOptions {
  std::chrono::milliseconds connect_timeout{30000};
  std::chrono::milliseconds io_timeout{300000};
};

class Socket final : public Source, public Sink {
 public:
  // Tries every address of a name in turn; the last failure is returned.
  static Result<Socket> connect(const Endpoint& endpoint, const SocketOptions& options);
  // An already connected descriptor (tests: socketpair).
  Socket(UniqueFd fd, std::string name, const SocketOptions& options);

  Result<std::size_t> read(std::span<char> out) override;
  Status write(std::string_view data) override;
  // For every later read and write.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  // True when octets (or the end) can be read at once or within `wait`.
  Result<bool> readable(std::chrono::milliseconds wait);
  // Makes blocked and later calls fail.
  void shutdown_now();
  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

 private:
  Status wait_for(short events, std::chrono::milliseconds limit, std::string_view doing);
  void acknowledge();

  UniqueFd fd_;
  std::string name_;
  std::chrono::milliseconds timeout_;
  bool unanswered_ = false;  // something was read and nothing written since
};

}  // namespace bsmtp::os
