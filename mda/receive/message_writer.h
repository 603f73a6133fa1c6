// MessageWriter: the events of a batch become message files (complete BSMTP transactions) in a
// private directory, with what the accepted parcel's meta must know about each. Nothing it wrote
// counts before parcel::open() has returned: until then the directory is only scratch space.
// Memory: one block and some 100 octets per message. Threads: one writer, one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/bsmtp/parser.h"
#include "common/digest/sha256.h"
#include "common/mail/header.h"
#include "common/os/fd_stream.h"
#include "common/os/file_ops.h"

namespace bsmtp::mda {

struct WrittenMessage {
  std::string text_digest;       // SHA-256 of the unstuffed CRLF text, hex
  std::uint64_t text_bytes = 0;  // of that text
  std::uint64_t received = 0;    // Received fields of its header
};

class MessageWriter final : public batch::Handler {
 public:
  // `directory` exists and is empty.
  MessageWriter(os::FileOps& ops, std::string directory);
  ~MessageWriter() override;

  // A message without a recipient is consumed and leaves no file (RFC 2442: it must be
  // accepted, and there is nobody to deliver it to).
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override;
  Status text(std::string_view stuffed) override;
  Status end_message(const mail::TextFacts& facts) override;

  // In the order of the files 000001, 000002, …
  const std::vector<WrittenMessage>& messages() const { return messages_; }
  std::string message_path(std::uint64_t number) const;  // from 1

 private:
  struct Open;

  os::FileOps& ops_;
  std::string directory_;
  std::unique_ptr<Open> open_;
  std::vector<WrittenMessage> messages_;
};

}  // namespace bsmtp::mda
