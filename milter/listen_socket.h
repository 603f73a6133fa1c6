// The unix socket files of the milter: made way for before they are bound, given its mode, and
// removed at the end. For inet sockets all of this does nothing.
// Guarantee: only a socket nobody listens on is ever removed, and at the end only the one that
// this process bound (a successor may have put its own there).
// Failure: temporary 4.3.0/4.3.5 naming path and remedy. Threads: main thread only.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::milter {

// PATH of "unix:PATH", "local:PATH" or "/PATH"; "" for an inet socket.
std::string socket_path(std::string_view connection);

// Removes a stale socket. A listening one, or a file of another kind, is an error. `key` is the
// configuration's word for the socket, for messages.
Status make_way(const std::string& path, std::string_view key = "milter-socket");

// Opens a listening socket, non-blocking: "unix:PATH" (way must have been made), "inet:PORT@HOST"
// or "inet6:PORT@HOST". HOST is required: nothing of ours listens on every interface by default.
Result<UniqueFd> listen_on(const std::string& connection, std::string_view key);

class SocketFile {
 public:
  SocketFile() = default;
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() { remove(); }

  // Notes which file `path` is now, right after it was bound; "" = nothing to remove.
  Status adopt(const std::string& path, std::string_view key = "milter-socket");
  void remove();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace bsmtp::milter
