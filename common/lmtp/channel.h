// The two directions of an LMTP session: commands and text from one input buffer, replies into
// one output buffer that is flushed before each read. Used by server.cc alone.
// Threads: one channel, one thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/line.h"

namespace bsmtp::lmtp {

class Channel {
 public:
  enum class Line { kCommand, kTooLong, kBadEnd, kEnd };

  Channel(Source& in, Sink& out, std::function<void()> before_wait)
      : in_(in), out_(out), before_wait_(std::move(before_wait)) {}

  // One command line without CRLF, valid until the next call. kTooLong: over
  // mail::kMaxCommandLine, skipped. kBadEnd: ended by LF alone. kEnd: the input ended.
  Result<Line> next_line(std::string_view& line);

  // `line` has no line end.
  Status reply(std::string_view line);
  Status flush();

  // What is there and not yet consumed; never empty unless the input has ended. Does not restart
  // the deadline: a text has one for the whole.
  Result<std::string_view> text();
  void consume(std::size_t octets) { begin_ += octets; }

 private:
  Status fill();
  std::string_view unread() const {
    return std::string_view(buffer_).substr(begin_, end_ - begin_);
  }

  Source& in_;
  Sink& out_;
  std::function<void()> before_wait_;
  std::string buffer_;     // never shrinks: filling it anew would cost more than the read
  std::size_t begin_ = 0;  // of what is not consumed
  std::size_t end_ = 0;
  std::string pending_;  // replies
  bool at_end_ = false;
};

// The text of one message as a Source, see Handler::deliver().
class TextSource final : public Source {
 public:
  TextSource(Channel& channel, bool any_octets) : channel_(channel), any_octets_(any_octets) {}
  Result<std::size_t> read(std::span<char> out) override;
  // Skips what is left of the text. Not ok: the client went away before the end.
  Status drain();
  const Status& violation() const { return violation_; }

 private:
  // Scans what the channel has; plain text goes to `to`.
  Status advance(Sink& to);

  Channel& channel_;
  bool any_octets_;
  mail::TextEndScanner scanner_;
  StringSink plain_{2 * kBlockSize};
  mail::Unstuffer unstuffer_{plain_};
  std::string ready_;
  std::size_t begin_ = 0;  // of what read() has not handed out
  Status violation_;
};

}  // namespace bsmtp::lmtp
