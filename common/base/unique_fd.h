// UniqueFd: owns one file descriptor; closes it when destroyed. Move-only.
// A file that was written is closed by close_checked(), whose Status counts.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/base/status.h"

namespace bsmtp {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset(std::exchange(other.fd_, -1));
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = fd;
  }
  Status close_checked(std::string_view name) {
    const int fd = release();
    if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) {
      return Status::from_errno(name, errno);
    }
    return Status::ok();
  }

 private:
  int fd_ = -1;
};

}  // namespace bsmtp
