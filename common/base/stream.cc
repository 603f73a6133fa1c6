#include "common/base/stream.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bsmtp {

Result<std::size_t> StringSource::read(std::span<char> out) {
  const std::size_t n = std::min(out.size(), data_.size());
  if (n != 0) {  // memcpy takes no null pointer, which an empty view may hold
    std::memcpy(out.data(), data_.data(), n);
  }
  data_.remove_prefix(n);
  return n;
}

Status StringSink::write(std::string_view data) {
  if (data.size() > limit_ - data_.size()) {
    return Status::permanent("5.3.4", "more than " + std::to_string(limit_) + " octets");
  }
  data_ += data;
  return Status::ok();
}

Status CountingSink::write(std::string_view data) {
  count_ += data.size();
  return next_ != nullptr ? next_->write(data) : Status::ok();
}

Status BufferedSink::write(std::string_view data) {
  if (data.size() > kBlockSize - buffer_.size()) {
    TRY(flush());
  }
  if (data.size() >= kBlockSize) {
    return next_.write(data);
  }
  buffer_.append(data);
  return Status::ok();
}

Status BufferedSink::flush() {
  if (buffer_.empty()) return Status::ok();
  Status status = next_.write(buffer_);
  buffer_.clear();
  return status;
}

Result<std::uint64_t> copy(Source& from, Sink& to) {
  std::array<char, kBlockSize> buf;  // NOLINT: filled by read before use
  std::uint64_t total = 0;
  for (;;) {
    TRY_ASSIGN(const std::size_t n, from.read(buf));
    if (n == 0) return total;
    TRY(to.write(std::string_view(buf.data(), n)));
    total += n;
  }
}

}  // namespace bsmtp
