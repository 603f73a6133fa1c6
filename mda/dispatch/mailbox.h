// Mailbox: how worker threads hand results to the one thread that schedules: closures that run
// there, and an eventfd that wakes its poll. wake() alone is also fine from any thread.
// Failure: none after open(). Threads: post() and wake() from any, drain() from one.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::mda {

class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> open();
  void post(std::function<void()> closure);
  void wake();
  int fd() const { return fd_.get(); }
  // Runs what was posted; returns how many.
  std::size_t drain();

 private:
  explicit Mailbox(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::mutex mutex_;
  std::vector<std::function<void()>> closures_;
};

}  // namespace bsmtp::mda
