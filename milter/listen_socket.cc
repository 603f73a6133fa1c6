#include "milter/listen_socket.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>

#include "common/base/text.h"
#include "common/base/unique_fd.h"

namespace bsmtp::milter {
namespace {

constexpr int kBacklog = 128;

Result<UniqueFd> bind_and_listen(int family, const sockaddr* address, socklen_t length,
                                 const std::string& what) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return Status::from_errno(what, errno);
  }
  const int one = 1;
  if ((family != AF_UNIX &&
       setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) ||
      bind(fd.get(), address, length) != 0 || listen(fd.get(), kBacklog) != 0) {
    return Status::from_errno(what + ": cannot listen", errno);
  }
  return fd;
}

Result<UniqueFd> listen_unix(const std::string& path, const std::string& what) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status::temporary("4.3.5", what + ": longer than 107 octets");
  }
  path.copy(address.sun_path, path.size());
  return bind_and_listen(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address,
                         what);
}

Result<UniqueFd> listen_inet(const std::string& connection, const std::string& what) {
  const std::size_t colon = connection.find(':');
  const std::size_t at = connection.find('@');
  const bool v4 = istarts_with(connection, "inet:");
  if ((!v4 && !istarts_with(connection, "inet6:")) || at == std::string::npos || at < colon ||
      at + 1 == connection.size()) {
    return Status::temporary("4.3.5", what + ": write unix:PATH or inet:PORT@HOST");
  }
  const std::string port = connection.substr(colon + 1, at - colon - 1);
  std::string host = connection.substr(at + 1);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_family = v4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return Status::temporary("4.3.5", str_cat({what, ": ", gai_strerror(error)}));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  return bind_and_listen(found->ai_family, found->ai_addr, found->ai_addrlen, what);
}

// Asked where connect(2) may not: every socket bound below a path stands there, and whether
// somebody accepts on it. Without that file nobody knows, and it is left alone.
bool may_be_listening(const std::string& path) {
  constexpr std::size_t kFlags = 3;
  constexpr std::size_t kPath = 7;
  constexpr std::string_view kAccepts = "00010000";
  const std::string name = path.substr(path.rfind('/') + 1);
  std::ifstream table("/proc/net/unix");
  std::string line;
  std::getline(table, line);
  if (!table) {
    return true;
  }
  while (std::getline(table, line)) {
    const auto words = split_blank(line);
    const bool same = words.size() > kPath && (words[kPath] == path || words[kPath] == name);
    if (same && words[kFlags] == kAccepts) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string socket_path(std::string_view connection) {
  for (const std::string_view prefix : {"unix:", "local:"}) {
    if (istarts_with(connection, prefix)) {
      return std::string(connection.substr(prefix.size()));
    }
  }
  return connection.starts_with("/") ? std::string(connection) : std::string();
}

Status make_way(const std::string& path, std::string_view key) {
  const std::string named = str_cat({key, " ", path});
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    // A directory that is missing is reported by the bind that follows.
    return errno == ENOENT || errno == ENOTDIR ? Status::ok() : Status::from_errno(named, errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Status::temporary("4.3.5", named +
                                          ": there is a file that is no socket; remove it or "
                                          "choose another path");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status::temporary("4.3.5", named + ": longer than 107 octets");
  }
  path.copy(address.sun_path, path.size());
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return Status::from_errno("socket", errno);
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return Status::temporary("4.3.0", named + ": another process listens there; stop it first");
  }
  if (errno == EACCES && may_be_listening(path)) {
    return Status::temporary("4.3.0",
                             str_cat({named, ": a process of user id ", std::to_string(info.st_uid),
                                      " may be listening there (started by hand?); end it first"}));
  }
  if (errno != ECONNREFUSED && errno != EACCES) {
    return Status::from_errno(named, errno);
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Status::from_errno(named + ": cannot remove the stale socket", errno);
  }
  return Status::ok();
}

Result<UniqueFd> listen_on(const std::string& connection, std::string_view key) {
  const std::string what = str_cat({key, " ", connection});
  const std::string path = socket_path(connection);
  return path.empty() ? listen_inet(connection, what) : listen_unix(path, what);
}

Status SocketFile::adopt(const std::string& path, std::string_view key) {
  struct stat info {};
  if (!path.empty()) {
    if (lstat(path.c_str(), &info) != 0) {
      return Status::from_errno(str_cat({key, " ", path}), errno);
    }
    path_ = path;
    device_ = info.st_dev;
    inode_ = info.st_ino;
  }
  return Status::ok();
}

void SocketFile::remove() {
  struct stat info {};
  if (!path_.empty() && lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    static_cast<void>(unlink(path_.c_str()));  // what is left is found stale by the next start
  }
  path_.clear();
}

}  // namespace bsmtp::milter
