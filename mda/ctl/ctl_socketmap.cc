// See ctl_socketmap.h.
#include "mda/ctl/ctl_socketmap.h"

#include <array>
#include <chrono>
#include <span>

#include "common/base/text.h"
#include "common/os/socket.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::chrono::milliseconds kPatience{3000};
constexpr std::size_t kMaxMapReply = 4096;

Result<os::Endpoint> endpoint_of(const std::string& socket) {
  os::Endpoint endpoint;
  endpoint.path = socket_path(socket);
  if (endpoint.is_unix()) {
    return endpoint;
  }
  const std::size_t colon = socket.find(':');
  const std::size_t at = socket.find('@');
  if (colon == std::string::npos || at == std::string::npos || at < colon) {
    return Status::temporary("4.3.5", socket + " is neither unix:PATH nor inet:PORT@HOST");
  }
  std::string host = socket.substr(at + 1);
  if (host.find(':') != std::string::npos && !host.starts_with('[')) {
    host = "[" + host + "]";
  }
  return os::parse_endpoint(
      str_cat({"smtp://", host, ":", socket.substr(colon + 1, at - colon - 1)}));
}

}  // namespace

std::string socket_path(std::string_view socket) {
  for (const std::string_view prefix : {"unix:", "local:"}) {
    if (socket.starts_with(prefix)) {
      return std::string(socket.substr(prefix.size()));
    }
  }
  return socket.starts_with('/') ? std::string(socket) : std::string();
}

Result<std::string> ask_socketmap(const std::string& socket, std::string_view map,
                                  std::string_view key) {
  const std::string question = str_cat({map, " ", key});
  TRY_ASSIGN(const os::Endpoint endpoint, endpoint_of(socket));
  TRY_ASSIGN(os::Socket connection, os::Socket::connect(endpoint, {kPatience, kPatience}));
  TRY(connection.write(str_cat({std::to_string(question.size()), ":", question, ","})));
  std::string reply;
  std::array<char, 512> buffer{};
  while (!reply.ends_with(',') && reply.size() < kMaxMapReply) {
    TRY_ASSIGN(const std::size_t n, connection.read(std::span<char>(buffer)));
    if (n == 0) {
      break;
    }
    reply.append(buffer.data(), n);
  }
  const std::size_t colon = reply.find(':');
  const std::string_view answer =
      colon == std::string::npos ? std::string_view() : std::string_view(reply).substr(colon + 1);
  if (answer.starts_with("OK ") || answer.starts_with("NOTFOUND ")) {
    return std::string(answer.substr(0, answer.rfind(',')));
  }
  return Status::temporary("4.3.0", str_cat({"it answered '", printable(reply, 80), "'"}));
}

}  // namespace bsmtp::mda::ctl
