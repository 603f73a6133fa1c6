#include "common/os/fd_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

Status write_fd(int fd, std::string_view data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno != EINTR) {
      return Status::from_errno("write " + name, errno);
    }
    data.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  return Status::ok();
}

}  // namespace

Result<std::size_t> RangeSource::read(std::span<char> out) {
  const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_));
  if (want == 0) {
    return std::size_t{0};
  }
  TRY_ASSIGN(const std::size_t n, ops_.read_at(file_, out.first(want), offset_));
  if (n == 0) {
    return Status::temporary(
        "4.3.0", str_cat({file_.path(), ": ends ", std::to_string(left_), " octets too early"}));
  }
  offset_ += n;
  left_ -= n;
  return n;
}

Status FileSink::write(std::string_view data) {
  count_ += data.size();
  if (buffer_.size() + data.size() > kBlockSize) {
    TRY(finish());
    if (data.size() >= kBlockSize) {
      return ops_.write(file_, data);
    }
  }
  if (buffer_.capacity() < kBlockSize) {
    buffer_.reserve(kBlockSize);
  }
  buffer_ += data;
  return Status::ok();
}

Status FileSink::finish() {
  Status status = ops_.write(file_, buffer_);
  buffer_.clear();
  return status;
}

Result<std::size_t> FdSource::read(std::span<char> out) {
  for (;;) {
    const ssize_t n = ::read(fd_, out.data(), out.size());
    if (n >= 0) {
      return static_cast<std::size_t>(n);
    }
    if (errno != EINTR) {
      return Status::from_errno("read " + name_, errno);
    }
  }
}

Status FdSink::write(std::string_view data) {
  if (buffer_.size() + data.size() > kBlockSize) {
    TRY(finish());
    if (data.size() >= kBlockSize) {
      return write_fd(fd_, data, name_);
    }
  }
  buffer_ += data;
  return Status::ok();
}

Status FdSink::finish() {
  Status status = write_fd(fd_, buffer_, name_);
  buffer_.clear();
  return status;
}

}  // namespace bsmtp::os
