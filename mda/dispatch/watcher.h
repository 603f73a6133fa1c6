// Watcher: inotify on spool directories. Every commit in the spool is a rename, so arrivals are
// IN_MOVED_TO and departures IN_MOVED_FROM or IN_DELETE. A lost event (queue overflow) is
// reported as such, and the caller scans again: events only save scans, they are never the truth.
// Failure: temporary, naming the directory and, at the limit, the sysctl. Threads: one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::mda {

class Watcher {
 public:
  enum class Kind { kArrived, kLeft, kOverflow };
  struct Event {
    int tag = 0;  // as given to watch(); 0 with kOverflow
    Kind kind = Kind::kArrived;
    std::string name;
  };

  static Result<Watcher> open();
  Status watch(const std::string& directory, int tag);
  int fd() const { return fd_.get(); }
  // What has happened since the last call; does not wait.
  Result<std::vector<Event>> read();

 private:
  explicit Watcher(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::map<int, int> tags_;  // watch descriptor -> tag
};

}  // namespace bsmtp::mda
