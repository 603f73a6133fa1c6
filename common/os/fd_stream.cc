#include "common/os/fd_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

constexpr std::uint64_t kWritebackStep = 4 * kBlockSize;

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

// In whole blocks from the file's start: a page written in two pieces costs the kernel twice.
Status FileSink::write(std::string_view data) {
  count_ += data.size();
  while (buffer_.size() + data.size() >= kBlockSize) {
    const std::size_t missing = kBlockSize - buffer_.size();
    if (buffer_.empty()) {
      const std::size_t whole = data.size() - data.size() % kBlockSize;
      TRY(write_blocks(data.substr(0, whole)));
      data.remove_prefix(whole);
      continue;
    }
    buffer_ += data.substr(0, missing);
    data.remove_prefix(missing);
    const Status status = write_blocks(buffer_);
    buffer_.clear();
    TRY(status);
  }
  if (buffer_.capacity() < kBlockSize) {
    buffer_.reserve(kBlockSize);
  }
  buffer_ += data;
  return Status::ok();
}

// What is long written while the rest still comes costs the final fsync nothing.
Status FileSink::write_blocks(std::string_view data) {
  TRY(ops_.write(file_, data));
  written_ += data.size();
  if (writeback_ == Writeback::kEarly && written_ - started_ >= kWritebackStep) {
    ops_.start_writeback(file_, started_, written_ - started_);
    started_ = written_;
  }
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

Status UnbufferedFdSink::write(std::string_view data) {
  return write_fd(fd_, data, name_);
}

}  // namespace bsmtp::os
