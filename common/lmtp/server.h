// Server side of one LMTP session (RFC 2033) over a Source and a Sink, for agents that an MTA
// starts with the session on standard input and output. Announces PIPELINING, 8BITMIME, SIZE,
// ENHANCEDSTATUSCODES, SMTPUTF8 and, when told to, DSN (RFC 3461), and checks parameters by it.
// Guarantees: one final reply per accepted recipient, in their order, never before the handler
// has answered; text ends with exactly CRLF "." CRLF, and text that mail cannot carry is refused
// with 5.6.1 after its true end, so that client and server stay in step (no smuggling).
// Replies are held back while further commands are there already (RFC 2920) and flushed before
// each read. Memory: two blocks, one command line, a line per accepted recipient.
// May not: open files or sockets, know peers or parcels. Threads: one session, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/envelope.h"

namespace bsmtp::lmtp {

// What became of the message for one recipient.
struct Outcome {
  Status status;
  std::string note;  // behind "250 2.0.0 " when ok, e.g. the id under which it is stored
};

class Handler {
 public:
  virtual ~Handler() = default;
  // MAIL: a transaction begins; the envelope has no recipients yet. A failure is the reply.
  virtual Status mail(const mail::Envelope& envelope) = 0;
  // RCPT: ok = this recipient gets a final reply later.
  virtual Status rcpt(const mail::Recipient& recipient) = 0;
  // The message text, CRLF, not dot-stuffed. Only a read() that returns 0 means that the text is
  // whole: after a failed one (5.6.1, or the client went away) nothing may be kept. Reading to the
  // end is not required of a handler that fails. One outcome per recipient that rcpt() took.
  // Ends the transaction.
  virtual std::vector<Outcome> deliver(Source& text) = 0;
  // The transaction is given up (RSET, LHLO, QUIT or the end of the input).
  virtual void reset() = 0;
};

struct Options {
  std::string host;            // in the greeting
  std::uint64_t max_size = 0;  // SIZE announced and enforced for MAIL's SIZE=; 0 = no fixed limit
  std::size_t max_recipients = 10000;  // per transaction; then 452 4.5.3
  std::size_t max_errors = 20;         // wrong commands per session; then 421 4.7.0
  // Whoever announces DSN takes over the duty to report success (RFC 3461 5.2.7).
  bool dsn = true;
  // NUL, bare CR and bare LF in the text reach the handler instead of being refused: for mail that
  // is judged by other means. The end of the text is found by the strict rule all the same.
  bool any_octets = false;
  // Called before a command is waited for, a text and its replies: restarts a deadline.
  std::function<void()> on_step;
};

// Serves until QUIT, the end of the input, or too many errors: all ok. Else the trouble with
// `in` or `out`. `out` is written in whole replies and never finished; it must not buffer.
Status serve(Source& in, Sink& out, Handler& handler, const Options& options);

// The reply line that stands for a failure: SMTP code by the enhanced code, ASCII, no line end,
// at most 450 octets. "451 4.3.0 text".
std::string reply_line(const Status& status);

}  // namespace bsmtp::lmtp
