// MessageWriter: the events of a batch become the file `messages` (complete BSMTP transactions one
// after another) in a private directory, with what meta must know about each. Nothing it wrote
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
  std::string head_digest;       // of its transaction's octets before the text, hex
  std::uint64_t text_bytes = 0;  // of that text
  std::uint64_t received = 0;    // Received fields of its header
  std::uint64_t offset = 0;      // of its transaction in the file
  std::uint64_t item_bytes = 0;  // of that transaction
};

class MessageWriter final : public batch::Handler {
 public:
  // `directory` exists and is empty.
  MessageWriter(os::FileOps& ops, std::string directory);
  ~MessageWriter() override;

  // The first one makes the file. A message without a recipient is consumed and leaves nothing
  // (RFC 2442: it must be accepted, and there is nobody to deliver it to).
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override;
  Status text(std::string_view stuffed) override;
  Status end_message(const mail::TextFacts& facts) override;

  // After the last message: the file is there, also without a message, and complete, not synced.
  Status finish();

  // In the order of the file.
  const std::vector<WrittenMessage>& messages() const { return messages_; }
  const std::shared_ptr<os::File>& file() const { return file_; }  // readable, too

 private:
  struct Open;
  Status make_file();

  os::FileOps& ops_;
  std::string directory_;
  std::shared_ptr<os::File> file_;
  std::unique_ptr<os::FileSink> sink_;
  std::unique_ptr<Open> open_;
  std::vector<WrittenMessage> messages_;
};

}  // namespace bsmtp::mda
