#include "common/lmtp/channel.h"

#include <algorithm>

#include "common/mail/envelope.h"

namespace bsmtp::lmtp {
namespace {

class NullSink final : public Sink {
 public:
  Status write(std::string_view /*data*/) override { return Status::ok(); }
};

}  // namespace

// Adds at most one block to what is not consumed, or notes the end.
Status Channel::fill() {
  TRY(flush());
  const std::string_view left = unread();
  std::copy(left.begin(), left.end(), buffer_.begin());
  begin_ = 0;
  end_ = left.size();
  if (buffer_.size() < end_ + kBlockSize) {
    buffer_.resize(end_ + kBlockSize);
  }
  TRY_ASSIGN(const std::size_t got, in_.read(std::span<char>(buffer_).subspan(end_, kBlockSize)));
  end_ += got;
  at_end_ = got == 0;
  return Status::ok();
}

Result<Channel::Line> Channel::next_line(std::string_view& line) {
  bool too_long = false;
  bool waited = false;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = unread().find('\n', searched);
    if (end != std::string_view::npos) {
      line = unread().substr(0, end);
      begin_ += end + 1;
      if (too_long || line.size() > mail::kMaxCommandLine) {
        return Line::kTooLong;
      }
      if (line.empty() || line.back() != '\r') {
        return Line::kBadEnd;
      }
      line.remove_suffix(1);
      return Line::kCommand;
    }
    searched = unread().size();
    if (searched > mail::kMaxCommandLine) {
      too_long = true;
      begin_ = end_;
      searched = 0;
    }
    if (at_end_) {
      return Line::kEnd;
    }
    if (!waited && before_wait_) {
      before_wait_();  // once: a client that sends octet by octet gains no time
    }
    waited = true;
    TRY(fill());
  }
}

Status Channel::reply(std::string_view line) {
  pending_ += line;
  pending_ += "\r\n";
  return pending_.size() >= kBlockSize ? flush() : Status::ok();
}

Status Channel::flush() {
  if (pending_.empty()) {
    return Status::ok();
  }
  Status status = out_.write(pending_);
  pending_.clear();
  return status;
}

Result<std::string_view> Channel::text() {
  if (begin_ == end_ && !at_end_) {
    TRY(fill());
  }
  return unread();
}

Status TextSource::advance(Sink& to) {
  TRY_ASSIGN(const std::string_view data, channel_.text());
  if (data.empty()) {
    return Status::temporary("4.4.2", "the client went away before the end of the text");
  }
  TRY_ASSIGN(const std::size_t used, scanner_.feed(data.substr(0, kBlockSize), to));
  channel_.consume(used);
  if (!any_octets_) {
    violation_ = scanner_.violation();
  }
  return Status::ok();
}

Result<std::size_t> TextSource::read(std::span<char> out) {
  while (begin_ == ready_.size()) {
    TRY(violation_);
    if (scanner_.done()) {
      return std::size_t{0};
    }
    TRY(advance(unstuffer_));
    ready_ = plain_.take();
    begin_ = 0;
  }
  // Not a word of a text that will be refused.
  TRY(violation_);
  const std::size_t n = std::min(out.size(), ready_.size() - begin_);
  std::copy_n(ready_.data() + begin_, n, out.data());
  begin_ += n;
  return n;
}

Status TextSource::drain() {
  NullSink nowhere;
  while (!scanner_.done()) {
    TRY(advance(nowhere));
  }
  return Status::ok();
}

}  // namespace bsmtp::lmtp
