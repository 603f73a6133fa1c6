#include "milter/listen_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/text.h"
#include "common/base/unique_fd.h"

namespace bsmtp::milter {

std::string socket_path(std::string_view connection) {
  for (const std::string_view prefix : {"unix:", "local:"}) {
    if (istarts_with(connection, prefix)) {
      return std::string(connection.substr(prefix.size()));
    }
  }
  return connection.starts_with("/") ? std::string(connection) : std::string();
}

Status make_way(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    // A directory that is missing is reported by the bind that follows.
    return errno == ENOENT || errno == ENOTDIR ? Status::ok()
                                               : Status::from_errno("milter-socket " + path, errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Status::temporary("4.3.5", "milter-socket " + path +
                                          ": there is a file that is no socket; remove it or "
                                          "choose another path");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status::temporary("4.3.5", "milter-socket " + path + ": longer than 107 octets");
  }
  path.copy(address.sun_path, path.size());
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return Status::from_errno("socket", errno);
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return Status::temporary(
        "4.3.0", "milter-socket " + path + ": another process listens there; stop it first");
  }
  if (errno != ECONNREFUSED) {
    return Status::from_errno("milter-socket " + path, errno);
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Status::from_errno("milter-socket " + path + ": cannot remove the stale socket", errno);
  }
  return Status::ok();
}

Status SocketFile::adopt(const std::string& path) {
  struct stat info {};
  if (!path.empty()) {
    if (lstat(path.c_str(), &info) != 0) {
      return Status::from_errno("milter-socket " + path, errno);
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
