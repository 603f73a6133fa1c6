// See client.h: the session, and a transaction up to the reply to DATA.
#include "common/smtp/client.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/smtp/client_run.h"

namespace bsmtp::smtp {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

// Whether the reply says "this transaction is full", not "this address is bad" (RFC 5321
// 4.5.3.1.10). A permanent one can say so only when the transaction had room for others.
bool is_too_many(const Reply& reply, bool others_accepted) {
  if (reply.is_permanent()) {
    return others_accepted &&
           (reply.enhanced.empty() ? reply.code == 552 : reply.enhanced.substr(1) == ".5.3");
  }
  return reply.code == 452 && (reply.enhanced.empty() || reply.enhanced == "4.5.3");
}

}  // namespace

std::string_view stage_name(Stage stage) {
  switch (stage) {
    case Stage::kLocal:
      return "local check";
    case Stage::kMail:
      return "MAIL";
    case Stage::kRcpt:
      return "RCPT";
    case Stage::kData:
      return "DATA";
    case Stage::kText:
      return "end of data";
  }
  return "";
}

std::size_t Delivery::accepted() const {
  return static_cast<std::size_t>(
      std::count_if(recipients.begin(), recipients.end(),
                    [](const RecipientResult& result) { return result.status.is_ok(); }));
}

Client::Client(Transport& transport, Options options)
    : transport_(transport), options_(std::move(options)) {}

Client::~Client() = default;

Status Client::write(std::string_view data, seconds timeout) {
  transport_.set_timeout(timeout);
  const Status status = transport_.write(data);
  return status.is_ok() ? status : status.with_context(options_.peer);
}

Result<Reply> Client::read_reply(seconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  ReplyParser parser;
  std::array<char, 4096> block;  // NOLINT: filled by read before use
  for (;;) {
    auto fed = parser.feed(input_);
    if (!fed.is_ok()) return fed.status().with_context(options_.peer);
    input_.erase(0, *fed);
    if (parser.done()) return parser.take();
    const auto left = std::chrono::ceil<seconds>(deadline - steady_clock::now());
    if (left <= seconds(0)) {
      return Status::temporary("4.4.2", options_.peer + ": no reply in time");
    }
    transport_.set_timeout(left);
    const auto got = transport_.read(block);
    if (!got.is_ok()) return got.status().with_context(options_.peer);
    if (*got == 0) {
      return Status::temporary("4.4.2", options_.peer + ": the server closed the connection");
    }
    input_.append(block.data(), *got);
  }
}

Result<Reply> Client::command(const std::string& line) {
  TRY(write(line + "\r\n", options_.timeouts.command));
  return read_reply(options_.timeouts.command);
}

Status Client::open() {
  if (!mail::is_domain(options_.ehlo_name) && !mail::is_domain_literal(options_.ehlo_name)) {
    return Status::temporary("4.3.5", str_cat({"\"", printable(options_.ehlo_name, 255),
                                               "\" cannot be named in EHLO; correct `host` or "
                                               "`resubmit-helo`"}));
  }
  const auto refused = [&](std::string_view what, const Reply& reply) {
    return Status::temporary("4.4.0",
                             str_cat({options_.peer, ": ", what, ": ", reply.to_string()}));
  };
  TRY_ASSIGN(const Reply greeting, read_reply(options_.timeouts.greeting));
  if (greeting.code != 220) return refused("greeting", greeting);
  TRY_ASSIGN(Reply reply, command("EHLO " + options_.ehlo_name));
  if (reply.is_positive()) {
    extensions_ = parse_extensions(reply);
  } else if (reply.is_permanent()) {
    TRY_ASSIGN(reply, command("HELO " + options_.ehlo_name));
  }
  if (!reply.is_positive()) return refused("EHLO", reply);
  usable_ = true;
  return Status::ok();
}

void Client::queue_commands(Run& run, const mail::Envelope& whole) {
  if (const Status announced = check_announced(whole, extensions_, options_.peer);
      !announced.is_ok()) {
    run.decide_all(Stage::kLocal, {}, announced);
    return;
  }
  const mail::Envelope envelope = announced_only(whole, extensions_);
  const auto mail_line = mail::format_mail(envelope);
  if (!mail_line.is_ok()) {
    run.decide_all(Stage::kLocal, {}, mail_line.status());
    return;
  }
  run.commands.push_back({Run::Kind::kMail, 0, *mail_line});
  for (std::size_t i = 0; i < envelope.recipients.size(); ++i) {
    const auto line = mail::format_rcpt(envelope.recipients[i]);
    if (line.is_ok()) {
      run.commands.push_back({Run::Kind::kRcpt, i, *line});
    } else {
      run.decide(i, Stage::kLocal, {}, line.status());
    }
  }
  if (run.commands.back().kind != Run::Kind::kRcpt) {
    run.commands.clear();  // nobody to send to
    return;
  }
  run.commands.push_back({Run::Kind::kData, 0, "DATA"});
}

void Client::take_rcpt_reply(Run& run, std::size_t index, Reply reply) {
  if (run.mail_refused) return;  // its fate is MAIL's
  if (reply.is_positive()) {
    run.fates[index] = Run::Fate::kAccepted;
    run.delivery.recipients[index].reply = std::move(reply);
    return;
  }
  const bool too_many = is_too_many(reply, run.any_accepted());
  const Status status = reply.to_status("RCPT");
  run.decide(index, Stage::kRcpt, reply, status);
  run.delivery.recipients[index].too_many_recipients = too_many;
}

// Reads the reply to the oldest unanswered command. False when the connection is of no more use.
bool Client::take_reply(Run& run) {
  const Run::Command& sent = run.commands[run.answered++];
  auto got = read_reply(sent.kind == Run::Kind::kData ? options_.timeouts.data_start
                                                      : options_.timeouts.command);
  constexpr Stage kStages[] = {Stage::kMail, Stage::kMail, Stage::kRcpt, Stage::kData};
  const Stage stage = kStages[static_cast<std::size_t>(sent.kind)];
  if (!got.is_ok()) {
    usable_ = false;
    run.over = true;
    run.delivery.outcome = Outcome::kNotSent;
    run.decide_all(stage, {}, got.status());
    return false;
  }
  Reply reply = std::move(got).value();
  if (reply.code == kClosing) {
    usable_ = false;
    run.over = true;
    run.decide_all(stage, reply, reply.to_status(stage_name(stage)));
    return false;
  }
  switch (sent.kind) {
    case Run::Kind::kReset:
      in_transaction_ = false;
      break;
    case Run::Kind::kMail:
      in_transaction_ = reply.is_positive();
      if (!reply.is_positive()) {
        run.mail_refused = true;
        run.decide_all(Stage::kMail, reply, reply.to_status("MAIL"));
      }
      break;
    case Run::Kind::kRcpt:
      take_rcpt_reply(run, sent.index, std::move(reply));
      break;
    case Run::Kind::kData:
      run.data_reply = std::move(reply);
  }
  return true;
}

bool Client::take_replies(Run& run) {
  while (run.answered < run.sent) {
    if (!take_reply(run)) return false;
  }
  return true;
}

std::size_t Client::window() const {
  return extensions_.pipelining && options_.pipelining ? std::max<std::size_t>(options_.window, 1)
                                                       : 1;
}

// Writes the next commands, at most a window of them, and takes their replies.
bool Client::send_window(Run& run, const Hooks& hooks) {
  const bool first = run.sent == 0;
  const std::size_t window = this->window();
  std::string block;
  for (std::size_t i = 0; i < window && run.sent < run.commands.size(); ++i) {
    const Run::Command& next = run.commands[run.sent];
    // With every earlier reply at hand it is known whether DATA makes sense.
    if (next.kind == Run::Kind::kData && i == 0 && !run.any_accepted()) break;
    block += next.line;
    block += "\r\n";
    run.data_sent = next.kind == Run::Kind::kData;
    ++run.sent;
  }
  if (block.empty()) return false;
  const Status written = write(block, options_.timeouts.command);
  if (!written.is_ok()) {
    usable_ = false;
    run.over = true;
    run.delivery.outcome = Outcome::kNotSent;
    run.decide_all(Stage::kMail, {}, written);
    return false;
  }
  if (first && hooks.meanwhile) {
    hooks.meanwhile();
  }
  return take_replies(run) && !(run.mail_refused && !run.data_sent);
}

void Client::envelope_stage(Run& run, const Hooks& hooks) {
  if (run.sent == 0 && in_transaction_ && !run.commands.empty()) {
    run.commands.insert(run.commands.begin(), {Run::Kind::kReset, 0, "RSET"});
  }
  if (!take_replies(run)) return;
  while (run.sent < run.commands.size() && send_window(run, hooks)) {
  }
}

// The commands of the message after this one, to leave with this one's end dot; "" if none.
std::string Client::commands_ahead(const Hooks& hooks) {
  const mail::Envelope* next = hooks.next && window() > 1 ? hooks.next() : nullptr;
  if (next == nullptr) return "";
  Run run(*next);
  queue_commands(run, *next);
  if (run.commands.empty() || run.commands.size() > window()) return "";
  std::string lines;
  for (const Run::Command& command : run.commands) {
    lines += command.line;
    lines += "\r\n";
  }
  run.sent = run.commands.size();
  run.data_sent = true;
  ahead_ = std::make_unique<Run>(std::move(run));
  return lines;
}

// What was sent ahead for this message. Sent for another: the connection is given up, because a
// DATA that may have been accepted can only be answered with a text.
bool Client::take_ahead(Run& run) {
  if (ahead_ == nullptr) return true;
  const std::unique_ptr<Run> ahead = std::exchange(ahead_, nullptr);
  if (!std::equal(ahead->commands.begin(), ahead->commands.end(), run.commands.begin(),
                  run.commands.end(),
                  [](const Run::Command& a, const Run::Command& b) { return a.line == b.line; })) {
    usable_ = false;
    transport_.shutdown();
    return false;
  }
  run.sent = ahead->sent;
  run.data_sent = ahead->data_sent;
  return true;
}

Delivery Client::send(const mail::Envelope& envelope, Source& stuffed) {
  return send(envelope, [&](Sink& sink) { return copy(stuffed, sink).status(); });
}

Delivery Client::send(const mail::Envelope& envelope, const TextWriter& writer,
                      const Hooks& hooks) {
  Run run(envelope);
  run.delivery.dsn_passed_on = extensions_.dsn;
  if (usable_) {
    queue_commands(run, envelope);
  }
  if (!usable_ || !take_ahead(run)) {
    run.delivery.outcome = Outcome::kNotSent;
    run.decide_all(Stage::kLocal, {},
                   Status::temporary("4.4.2", options_.peer + ": no usable connection"));
    return std::move(run.delivery);
  }
  envelope_stage(run, hooks);
  if (!run.over && run.data_sent) {
    data_stage(run, writer, hooks);
  }
  return std::move(run.delivery);
}

}  // namespace bsmtp::smtp
