// Message text on its way to an SMTP server: proves while it passes that it cannot end early
// (no end dot, NUL, bare CR or bare LF inside), and keeps up to a block back so that a small
// message and its end dot leave in one piece. Used by the client only. Threads: one sink, one.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/line.h"

namespace bsmtp::smtp {

class TextSink final : public Sink {
 public:
  using Write = std::function<Status(std::string_view)>;
  explicit TextSink(Write write) : out_(std::move(write)), buffer_(out_) {}

  Status write(std::string_view data) override;
  // Ok when an end dot may follow, else what is wrong with the text (permanent 5.6.0, 5.6.1).
  Status check_end() const;
  // Writes the end dot with all that is left, and `behind` it (commands of the next message).
  // Failure leaves open how much arrived.
  Status end_dot(std::string_view behind = {});
  // Ok unless writing to the server failed.
  const Status& transport_failure() const { return out_.failure; }
  std::uint64_t octets() const { return octets_; }

 private:
  struct Out final : Sink {
    explicit Out(Write w) : write_block(std::move(w)) {}
    Status write(std::string_view data) override;
    Write write_block;
    Status failure;
  };

  Out out_;
  BufferedSink buffer_;
  mail::TextEndScanner scanner_;
  Status bad_text_;
  std::uint64_t octets_ = 0;
};

}  // namespace bsmtp::smtp
