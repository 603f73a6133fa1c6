// See watcher.h.
#include "mda/dispatch/watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/text.h"

namespace bsmtp::mda {

Result<Watcher> Watcher::open() {
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd.valid()) {
    return Status::from_errno("inotify (sysctl fs.inotify.max_user_instances)", errno);
  }
  return Watcher(std::move(fd));
}

Status Watcher::watch(const std::string& directory, int tag) {
  const int descriptor =
      ::inotify_add_watch(fd_.get(), directory.c_str(),
                          IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR);
  if (descriptor < 0) {
    const std::string hint = errno == ENOSPC ? " (raise sysctl fs.inotify.max_user_watches)" : "";
    return Status::from_errno(directory + hint, errno);
  }
  tags_[descriptor] = tag;
  return Status::ok();
}

Result<std::vector<Watcher::Event>> Watcher::read() {
  std::vector<Event> events;
  alignas(inotify_event) std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && errno != EAGAIN) {
      return Status::from_errno("inotify", errno);
    }
    if (got <= 0) {
      return events;
    }
    std::size_t at = 0;
    while (at < static_cast<std::size_t>(got)) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0U) {
        events.push_back({0, Kind::kOverflow, ""});
        continue;
      }
      const auto tag = tags_.find(event.wd);
      if (tag == tags_.end() || event.len == 0) {
        continue;
      }
      const bool left = (event.mask & (IN_MOVED_FROM | IN_DELETE)) != 0U;
      events.push_back({tag->second, left ? Kind::kLeft : Kind::kArrived,
                        std::string(name, ::strnlen(name, event.len))});
    }
  }
}

}  // namespace bsmtp::mda
