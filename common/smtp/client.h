// SMTP client (RFC 5321, PIPELINING RFC 2920, SIZE 1870, 8BITMIME 6152, DSN 3461, SMTPUTF8 6531)
// for one connection to the host MTA. One message at a time: its final reply is in the caller's
// hands before any text of the next is sent, so a caller that journals each Delivery knows after
// a crash which messages are certain. Text is dot-stuffed already and never altered; the client
// proves that it cannot end early. Only announced parameters are sent. The result says for each
// recipient what the server answered and where, and whether a broken connection left the
// message surely unsent or ambiguous (lost after the end dot, RFC 1047).
// Threads: one client, one thread; several clients side by side are independent.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/envelope.h"
#include "common/smtp/extensions.h"
#include "common/smtp/reply.h"

namespace bsmtp::smtp {

// A connected byte stream with time-outs, made by the caller (common/os socket, or a test's).
class Transport {
 public:
  virtual ~Transport() = default;
  // At least one octet, 0 at the peer's end, temporary Status on error or after the time-out.
  virtual Result<std::size_t> read(std::span<char> out) = 0;
  // All of `data`, or a temporary Status (also when no octet moved during the time-out).
  virtual Status write(std::string_view data) = 0;
  // For each following read or write.
  virtual void set_timeout(std::chrono::seconds timeout) = 0;
  // Ends the connection at once, so that the peer cannot take what was sent for complete.
  virtual void shutdown() = 0;
};

// RFC 5321 4.5.3.2.
struct Timeouts {
  std::chrono::seconds greeting{300};
  std::chrono::seconds command{300};
  std::chrono::seconds data_start{120};
  std::chrono::seconds data_block{180};
  std::chrono::seconds data_end{600};
};

enum class Stage { kLocal, kMail, kRcpt, kData, kText };
std::string_view stage_name(Stage stage);

// The fate of one recipient. kLocal: decided here (extension missing, too big), no reply.
struct RecipientResult {
  Stage stage = Stage::kText;
  Reply reply;
  Status status;  // ok, or why not: what a DSN or a deferral should say
  // 452 or 4.5.3 at RCPT, or 552 or 5.5.3 after others were accepted: this transaction was full,
  // not a fault of the address (RFC 5321 4.5.3.1.10): send it again in another transaction.
  bool too_many_recipients = false;
};

enum class Outcome {
  kDone,       // every recipient's status is the server's (or kLocal) decision
  kNotSent,    // the connection broke before the end dot: surely not accepted by anyone
  kAmbiguous,  // it broke after the end dot and before its reply: maybe accepted
};

struct Delivery {
  Outcome outcome = Outcome::kDone;
  std::vector<RecipientResult> recipients;  // in the envelope's order
  Reply final_reply;                        // to the end dot; code 0 when there was none
  bool dsn_passed_on = false;               // the server took over NOTIFY (RFC 3461 5.2.4)
  std::uint64_t text_octets = 0;            // stuffed text sent
  std::size_t accepted() const;
};

class Client {
 public:
  struct Options {
    std::string ehlo_name;
    std::string peer;  // "127.0.0.1:10027", for messages
    Timeouts timeouts;
    bool pipelining = true;  // when announced
    // Commands sent ahead of their replies; bounds what both sides must buffer.
    std::size_t window = 50;
  };
  // `transport` must outlive the client.
  Client(Transport& transport, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Greeting and EHLO (HELO when EHLO is refused with 5yz). Temporary whatever the server says:
  // a host MTA that refuses the session is trouble, not a verdict on mail.
  Status open();
  const Extensions& extensions() const { return extensions_; }

  // Writes the stuffed CRLF text without end dot into the sink it is given.
  using TextWriter = std::function<Status(Sink&)>;
  struct Hooks {
    // Called whenever commands or a text are on their way and before the reply is waited for: time
    // the caller can use. Not called when nothing could be sent.
    std::function<void()> meanwhile;
    // Asked right before the end dot: the envelope that the next send() will bring, or null if
    // that is not known. Its MAIL, RCPT and DATA then leave with the end dot (RFC 2920 3.1), which
    // accepts nothing but saves a round trip. Never asked where PIPELINING is not announced.
    std::function<const mail::Envelope*()> next;
  };
  // One transaction. `writer` is called only if the server wants the text. If the writer fails,
  // or its text holds an end dot, NUL, bare CR or bare LF or does not end in CRLF, the
  // connection is dropped before the end dot and that Status is every accepted recipient's.
  // Never call it again after usable() turned false. With another envelope than the one that was
  // announced by `next` the connection is dropped too, and the outcome is kNotSent.
  Delivery send(const mail::Envelope& envelope, const TextWriter& writer, const Hooks& hooks);
  Delivery send(const mail::Envelope& envelope, const TextWriter& writer) {
    return send(envelope, writer, Hooks());
  }
  // The same with the text read from `stuffed` to its end.
  Delivery send(const mail::Envelope& envelope, Source& stuffed);

  // False after a lost connection, a 421 or an aborted text.
  bool usable() const { return usable_; }
  // QUIT and its reply, errors ignored (nothing depends on it); a plain close when a message was
  // announced and never sent.
  void quit();

 private:
  struct Run;

  Result<Reply> read_reply(std::chrono::seconds timeout);
  Status write(std::string_view data, std::chrono::seconds timeout);
  Result<Reply> command(const std::string& line);
  std::size_t window() const;
  void queue_commands(Run& run, const mail::Envelope& whole);
  std::string commands_ahead(const Hooks& hooks);
  bool take_ahead(Run& run);
  void envelope_stage(Run& run, const Hooks& hooks);
  bool send_window(Run& run, const Hooks& hooks);
  bool take_replies(Run& run);
  bool take_reply(Run& run);
  void take_rcpt_reply(Run& run, std::size_t index, Reply reply);
  void data_stage(Run& run, const TextWriter& writer, const Hooks& hooks);
  void text_failed(Run& run, const Status& why, bool by_writer);
  void final_reply(Run& run);

  Transport& transport_;
  Options options_;
  Extensions extensions_;
  bool usable_ = false;
  bool in_transaction_ = false;
  std::unique_ptr<Run> ahead_;  // the next message's commands, sent and unanswered
  std::string input_;           // read ahead of the current reply
};

}  // namespace bsmtp::smtp
