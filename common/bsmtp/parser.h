// Push parser of application/batch-SMTP objects (RFC 2442, the processor's side). Strict on what
// decides where a message begins and ends, liberal on what does not: any HELO or EHLO, also
// repeated (a reset); RSET; NOOP, VRFY, EXPN, HELP, TICK and VERB do nothing; DATA without a
// recipient is consumed; a missing QUIT after a complete transaction is accepted unless
// require_quit; blank lines may follow QUIT. Anything else is permanent 5.6.0 and the whole
// object is invalid: callers act on no message before finish() has returned ok.
// Same events for any cutting of the input. Threads: one parser, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/bsmtp/extensions.h"
#include "common/mail/envelope.h"
#include "common/mail/line.h"

namespace bsmtp::batch {

// What a batch says. Any Status but ok stops the parser, which returns it unchanged.
class Handler {
 public:
  virtual ~Handler() = default;
  // MAIL, RCPT.. and DATA have been read. `index` counts from 0. Recipients may be empty
  // (RFC 2442: DATA with no valid recipient must be accepted).
  virtual Status begin_message(const mail::Envelope& envelope, std::size_t index) = 0;
  // The text, dot-stuffed CRLF as in an item, without the end dot; put a mail::Unstuffer behind
  // it for the plain text. NUL, bare CR and bare LF fail the parser after the block that holds
  // them has been handed over.
  virtual Status text(std::string_view stuffed) = 0;
  virtual Status end_message(const mail::TextFacts& facts) = 0;
};

struct ParserLimits {
  std::size_t messages = 10000;
  std::size_t recipients = 1000;  // of one message
  std::size_t command_line = mail::kMaxCommandLine;
  std::uint64_t text_octets = 0;  // of one message, stuffed; 0 = no limit
  std::uint64_t text_line = 0;    // longest line of message text; 0 = no limit
};

class Parser final : public Sink {
 public:
  struct Options {
    ParserLimits limits;
    Agreement agreement;
    // UNIX PMDF writes native LF lines inside its gzip: then LF must end every line of the
    // object (mixed: invalid), and text() still delivers CRLF. Otherwise LF alone is refused.
    bool lf_if_first_line_is = false;
    bool require_quit = false;
  };
  Parser(Handler& handler, Options options);
  // Permanent 5.6.0 with the number of the line and what is wrong; later calls repeat it.
  Status write(std::string_view data) override;
  // The end of the object: fails for an open transaction or text without its end.
  Status finish() override;

  std::size_t messages() const { return messages_; }
  bool saw_quit() const { return state_ == State::kQuit; }

 private:
  enum class State { kGreeting, kReady, kMail, kText, kQuit };
  class TextOut;

  Status learn_line_ends(std::string_view data);
  Status take_lf(std::string_view data);
  Status take(std::string_view data);
  Result<std::size_t> take_text(std::string_view data);
  Result<std::size_t> take_command_part(std::string_view data);
  Status end_text();
  Status command(std::string_view line);
  Status transaction_command(std::string_view line);
  Status mail_command(std::string_view arguments);
  Status rcpt_command(std::string_view arguments);
  Status data_command();
  Status bad(std::string_view what) const;
  void reset();

  Handler& handler_;
  Options options_;
  State state_ = State::kGreeting;
  Status failure_;
  bool ends_known_ = false;
  bool lf_ = false;
  std::string line_;  // an unfinished command line
  std::string crlf_;  // one block of an LF object as CRLF
  mail::Envelope envelope_;
  mail::TextEndScanner scanner_;
  std::uint64_t text_octets_ = 0;
  std::uint64_t lines_ = 0;  // finished ones, for messages
  std::size_t messages_ = 0;
};

}  // namespace bsmtp::batch
