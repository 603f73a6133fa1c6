#include "common/lmtp/server.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/lmtp/channel.h"

namespace bsmtp::lmtp {
namespace {

class Session {
 public:
  Session(Source& in, Sink& out, Handler& handler, const Options& options)
      : channel_(in, out, options.on_step), handler_(handler), options_(options) {}

  Status run();

 private:
  using Action = Status (Session::*)(std::string_view arguments);
  struct Command {
    std::string_view verb;
    Action action;
  };
  static const std::array<Command, 10> kCommands;

  Status execute(std::string_view line);
  Status lhlo(std::string_view arguments);
  Status wrong_hello(std::string_view arguments);
  Status mail(std::string_view arguments);
  Status rcpt(std::string_view arguments);
  Status data(std::string_view arguments);
  Status rset(std::string_view arguments);
  Status noop(std::string_view arguments);
  Status vrfy(std::string_view arguments);
  Status quit(std::string_view arguments);

  Result<mail::Envelope> check_mail(std::string_view arguments) const;
  Result<mail::Recipient> check_rcpt(std::string_view arguments) const;
  Status answer(const std::vector<Outcome>& outcomes, const Status& violation);
  Status error(std::string_view line);
  void abandon();

  Channel channel_;
  Handler& handler_;
  const Options& options_;
  bool greeted_ = false;
  bool in_mail_ = false;
  // Of MAIL, while RCPT and DATA that were pipelined behind it come in: answering them with a
  // permanent 503 could be taken for the recipients' fate.
  std::optional<Status> mail_refusal_;
  std::vector<std::string> accepted_;  // addresses, printable
  std::size_t errors_ = 0;
  bool closing_ = false;
};

const std::array<Session::Command, 10> Session::kCommands{{
    {"LHLO", &Session::lhlo},
    {"MAIL", &Session::mail},
    {"RCPT", &Session::rcpt},
    {"DATA", &Session::data},
    {"RSET", &Session::rset},
    {"NOOP", &Session::noop},
    {"VRFY", &Session::vrfy},
    {"QUIT", &Session::quit},
    {"HELO", &Session::wrong_hello},
    {"EHLO", &Session::wrong_hello},
}};

// Visible ASCII of somebody's text for a reply, which is one line.
std::string reply_text(std::string_view text, std::size_t limit) {
  std::string out = printable(text, limit);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

// Text behind "FROM:" or "TO:"; nullopt when that is not there.
std::optional<std::string_view> behind(std::string_view prefix, std::string_view arguments) {
  if (!istarts_with(arguments, prefix)) {
    return std::nullopt;
  }
  return arguments.substr(prefix.size());
}

// No extension that defines other parameters is announced; dropping one would break its promise.
Status require_known(const std::vector<mail::Param>& other) {
  return other.empty()
             ? Status::ok()
             : Status::permanent("5.5.4", str_cat({"parameter ", other.front().keyword,
                                                   " belongs to no announced extension"}));
}

Status Session::run() {
  TRY(channel_.reply(str_cat({"220 ", options_.host, " LMTP bsmtp-tunnel"})));
  while (!closing_) {
    std::string_view line;
    TRY_ASSIGN(const Channel::Line kind, channel_.next_line(line));
    switch (kind) {
      case Channel::Line::kCommand:
        TRY(execute(line));
        break;
      case Channel::Line::kTooLong:
        TRY(error("500 5.5.6 the command line is too long"));
        break;
      case Channel::Line::kBadEnd:
        TRY(error("500 5.5.2 a command ends with CRLF (sendmail: E=\\r\\n in the mailer)"));
        break;
      case Channel::Line::kEnd:
        closing_ = true;
        break;
    }
    if (errors_ >= options_.max_errors && !closing_) {
      TRY(channel_.reply("421 4.7.0 too many wrong commands"));
      closing_ = true;
    }
  }
  abandon();
  return channel_.flush();
}

Status Session::execute(std::string_view line) {
  const std::size_t blank = std::min(line.find(' '), line.size());
  const std::string_view verb = line.substr(0, blank);
  for (const Command& command : kCommands) {
    if (iequals(command.verb, verb)) {
      return (this->*command.action)(trim(line.substr(blank)));
    }
  }
  return error("500 5.5.1 unknown command");
}

// Replies to a command that no correct client sends.
Status Session::error(std::string_view line) {
  ++errors_;
  return channel_.reply(line);
}

void Session::abandon() {
  if (in_mail_) {
    handler_.reset();
  }
  in_mail_ = false;
  mail_refusal_.reset();
  accepted_.clear();
}

Status Session::lhlo(std::string_view arguments) {
  if (arguments.empty()) {
    return error("501 5.5.4 LHLO needs the client's name");
  }
  abandon();
  greeted_ = true;
  TRY(channel_.reply(str_cat({"250-", options_.host})));
  TRY(channel_.reply("250-PIPELINING"));
  TRY(channel_.reply("250-ENHANCEDSTATUSCODES"));
  TRY(channel_.reply("250-8BITMIME"));
  if (options_.dsn) {
    TRY(channel_.reply("250-DSN"));
  }
  TRY(channel_.reply(options_.max_size == 0
                         ? "250-SIZE"
                         : str_cat({"250-SIZE ", std::to_string(options_.max_size)})));
  return channel_.reply("250 SMTPUTF8");
}

// RFC 2033 4.1: not supported in LMTP.
Status Session::wrong_hello(std::string_view /*arguments*/) {
  return error("500 5.5.1 this is LMTP: say LHLO");
}

Result<mail::Envelope> Session::check_mail(std::string_view arguments) const {
  const auto path = behind("FROM:", arguments);
  if (!path) {
    return Status::permanent("5.5.4", "MAIL FROM:<address> expected");
  }
  TRY_ASSIGN(mail::Envelope envelope, mail::parse_mail(*path));
  TRY(require_known(envelope.other));
  if (!options_.dsn && (!envelope.ret.empty() || !envelope.envid.empty())) {
    return Status::permanent("5.5.4", "RET and ENVID need DSN, which is not announced");
  }
  if (options_.max_size != 0 && envelope.size.value_or(0) > options_.max_size) {
    return Status::permanent("5.3.4", str_cat({"message of ", std::to_string(*envelope.size),
                                               " octets is larger than the limit of ",
                                               std::to_string(options_.max_size)}));
  }
  return envelope;
}

Status Session::mail(std::string_view arguments) {
  if (!greeted_ || in_mail_) {
    return error(greeted_ ? "503 5.5.1 a transaction is open already" : "503 5.5.1 say LHLO first");
  }
  mail_refusal_.reset();
  auto envelope = check_mail(arguments);
  Status status = envelope.status();
  if (status.is_ok()) {
    status = handler_.mail(*envelope);
  }
  if (!status.is_ok()) {
    mail_refusal_ = status;
    return channel_.reply(reply_line(status));
  }
  in_mail_ = true;
  return channel_.reply("250 2.1.0 sender ok");
}

Result<mail::Recipient> Session::check_rcpt(std::string_view arguments) const {
  const auto path = behind("TO:", arguments);
  if (!path) {
    return Status::permanent("5.5.4", "RCPT TO:<address> expected");
  }
  if (accepted_.size() >= options_.max_recipients) {
    return Status::temporary("4.5.3", "too many recipients for one transaction");
  }
  // Postfix encodes an ORCPT of type utf-8 anew, up to twelve octets a character: 42 of them are
  // longer than RFC 3461 grants, and a refusal would bounce the mail. The line has its own limit.
  TRY_ASSIGN(mail::Recipient recipient, mail::parse_rcpt(*path, mail::kMaxCommandLine));
  TRY(require_known(recipient.other));
  if (!options_.dsn && (!recipient.notify.empty() || !recipient.orcpt.empty())) {
    return Status::permanent("5.5.4", "NOTIFY and ORCPT need DSN, which is not announced");
  }
  return recipient;
}

Status Session::rcpt(std::string_view arguments) {
  if (mail_refusal_) {
    return channel_.reply(reply_line(*mail_refusal_));
  }
  if (!in_mail_) {
    return error("503 5.5.1 MAIL first");
  }
  const auto recipient = check_rcpt(arguments);
  Status status = recipient.status();
  if (status.is_ok()) {
    status = handler_.rcpt(*recipient);
  }
  if (!status.is_ok()) {
    return channel_.reply(reply_line(status));
  }
  accepted_.push_back(reply_text(recipient->address, 200));
  return channel_.reply("250 2.1.5 recipient ok");
}

Status Session::data(std::string_view arguments) {
  if (mail_refusal_) {
    return channel_.reply(reply_line(*mail_refusal_));
  }
  if (!in_mail_ || !arguments.empty()) {
    return error(in_mail_ ? "501 5.5.4 DATA has no arguments" : "503 5.5.1 MAIL first");
  }
  if (accepted_.empty()) {
    return channel_.reply("503 5.5.1 no valid recipients");  // RFC 2033 4.2; pipelined, no error
  }
  TRY(channel_.reply("354 end the text with <CRLF>.<CRLF>"));
  if (options_.on_step) {
    options_.on_step();
  }
  TextSource text(channel_, options_.any_octets);
  const std::vector<Outcome> outcomes = handler_.deliver(text);
  in_mail_ = false;
  if (!text.drain().is_ok()) {
    // Nobody is there to read a reply; the next look for a command finds the end or the trouble.
    accepted_.clear();
    return Status::ok();
  }
  if (options_.on_step) {
    options_.on_step();  // the client may be slow to read
  }
  TRY(answer(outcomes, text.violation()));
  accepted_.clear();
  // A lost reply makes a duplicate, so these do not wait for company.
  return channel_.flush();
}

Status Session::answer(const std::vector<Outcome>& outcomes, const Status& violation) {
  BSMTP_CHECK(outcomes.size() == accepted_.size());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    BSMTP_CHECK(violation.is_ok() || !outcome.status.is_ok());
    if (!outcome.status.is_ok()) {
      TRY(channel_.reply(reply_line(violation.is_ok() ? outcome.status : violation)));
      continue;
    }
    TRY(channel_.reply(
        str_cat({"250 2.0.0 <", accepted_[i], "> ", reply_text(outcome.note, 200)})));
  }
  return Status::ok();
}

Status Session::rset(std::string_view /*arguments*/) {
  abandon();
  return channel_.reply("250 2.0.0 ok");
}

Status Session::noop(std::string_view /*arguments*/) {
  return channel_.reply("250 2.0.0 ok");
}

Status Session::vrfy(std::string_view /*arguments*/) {
  return channel_.reply("252 2.1.5 cannot be verified here; send the mail");
}

Status Session::quit(std::string_view /*arguments*/) {
  closing_ = true;
  return channel_.reply("221 2.0.0 closing");
}

}  // namespace

Status serve(Source& in, Sink& out, Handler& handler, const Options& options) {
  return Session(in, out, handler, options).run();
}

}  // namespace bsmtp::lmtp
