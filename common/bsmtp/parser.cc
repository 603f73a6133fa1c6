#include "common/bsmtp/parser.h"

#include <algorithm>
#include <cstring>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::batch {
namespace {

constexpr std::size_t kStep = 16384;
constexpr std::string_view kMail = "MAIL FROM:";
constexpr std::string_view kRcpt = "RCPT TO:";

// Commands of a dialogue, and of BITNET's old BSMTP, that change nothing in a batch.
constexpr std::string_view kIdle[] = {"NOOP", "VRFY", "EXPN", "HELP", "TICK", "VERB"};

bool is_blank_line(std::string_view line) {
  return trim(line).empty();
}

}  // namespace

// Message text on its way to the handler.
class Parser::TextOut final : public Sink {
 public:
  explicit TextOut(Parser& parser) : parser_(parser) {}
  Status write(std::string_view data) override {
    const std::uint64_t limit = parser_.options_.limits.text_octets;
    parser_.text_octets_ += data.size();
    if (limit != 0 && parser_.text_octets_ > limit) {
      return parser_.bad("a message of more than " + std::to_string(limit) + " octets");
    }
    return parser_.handler_.text(data);
  }

 private:
  Parser& parser_;
};

Parser::Parser(Handler& handler, Options options) : handler_(handler), options_(options) {}

Status Parser::bad(std::string_view what) const {
  const std::uint64_t line = lines_ + (state_ == State::kText ? scanner_.facts().lines : 0) + 1;
  return Status::permanent("5.6.0",
                           str_cat({"invalid batch, line ", std::to_string(line), ": ", what}));
}

void Parser::reset() {
  envelope_ = {};
  state_ = State::kReady;
}

Status Parser::write(std::string_view data) {
  TRY(failure_);
  if (!ends_known_) {
    failure_ = learn_line_ends(data);
    TRY(failure_);
  }
  if (ends_known_ && lf_) {
    while (!data.empty() && failure_.is_ok()) {
      failure_ = take_lf(data.substr(0, kStep));
      data.remove_prefix(std::min(kStep, data.size()));
    }
  } else {
    failure_ = take(data);
  }
  return failure_;
}

// The first line's end says how all lines must end.
Status Parser::learn_line_ends(std::string_view data) {
  const std::size_t nl = data.find('\n');
  if (nl == std::string_view::npos) return Status::ok();
  ends_known_ = true;
  const bool crlf = nl > 0 ? data[nl - 1] == '\r' : line_.ends_with('\r');
  lf_ = !crlf;
  if (lf_ && !options_.lf_if_first_line_is) return bad("it ends in LF alone, CRLF is needed");
  if (lf_ && line_.find('\r') != std::string::npos) return bad("a CR not followed by LF");
  return Status::ok();
}

Status Parser::take_lf(std::string_view data) {
  if (data.find('\r') != std::string_view::npos) {
    return bad("or a following one has a CR although lines end in LF alone");
  }
  crlf_.resize(2 * data.size());
  char* out = crlf_.data();
  while (!data.empty()) {
    const std::size_t nl = data.find('\n');
    const std::string_view text = data.substr(0, nl);
    std::memcpy(out, text.data(), text.size());
    out += text.size();
    data.remove_prefix(text.size());
    if (!data.empty()) {
      *out++ = '\r';
      *out++ = '\n';
      data.remove_prefix(1);
    }
  }
  return take(std::string_view(crlf_.data(), static_cast<std::size_t>(out - crlf_.data())));
}

Status Parser::take(std::string_view data) {
  while (!data.empty()) {
    TRY_ASSIGN(const std::size_t n,
               state_ == State::kText ? take_text(data) : take_command_part(data));
    data.remove_prefix(n);
  }
  return Status::ok();
}

Result<std::size_t> Parser::take_text(std::string_view data) {
  TextOut out(*this);
  const std::string_view step = data.substr(0, kStep);
  TRY_ASSIGN(const std::size_t n, scanner_.feed(step, out));
  if (!scanner_.violation().is_ok()) return bad(scanner_.violation().text());
  const std::uint64_t limit = options_.limits.text_line;
  if (limit != 0 && scanner_.facts().longest_line > limit) {
    return bad("or one before it is longer than " + std::to_string(limit) + " octets");
  }
  if (scanner_.done()) {
    TRY(end_text());
  }
  return n;
}

Status Parser::end_text() {
  const mail::TextFacts facts = scanner_.facts();
  lines_ += facts.lines + 1;
  ++messages_;
  reset();
  return handler_.end_message(facts);
}

Result<std::size_t> Parser::take_command_part(std::string_view data) {
  const std::size_t nl = data.find('\n');
  const std::string_view part = data.substr(0, nl == std::string_view::npos ? nl : nl + 1);
  if (line_.size() + part.size() > options_.limits.command_line + 2) {
    return bad("a command of more than " + std::to_string(options_.limits.command_line) +
               " octets");
  }
  line_ += part;
  if (nl == std::string_view::npos) return part.size();
  std::string_view line = line_;
  line.remove_suffix(1);
  if (!line.ends_with('\r')) return bad("it ends in LF alone, CRLF is needed");
  line.remove_suffix(1);
  TRY(command(line));
  line_.clear();
  ++lines_;
  return part.size();
}

Status Parser::command(std::string_view line) {
  if (state_ == State::kQuit) {
    return is_blank_line(line) ? Status::ok() : bad("text behind QUIT");
  }
  // A tab is the only control that a command may hold.
  if (std::any_of(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7F;
      })) {
    return bad("a control character in a command");
  }
  const std::string_view verb = line.substr(0, line.find_first_of(" \t"));
  const std::string_view arguments = trim(line.substr(verb.size()));
  if (iequals(verb, "EHLO") || iequals(verb, "HELO")) {
    if (arguments.empty()) return bad("EHLO or HELO without a name");
    reset();  // RFC 5321 4.1.4: a later EHLO is a reset
    return Status::ok();
  }
  if (iequals(verb, "RSET") && arguments.empty()) {
    if (state_ != State::kGreeting) {
      reset();
    }
    return Status::ok();
  }
  if (iequals(verb, "QUIT") && arguments.empty()) {
    envelope_ = {};
    state_ = State::kQuit;
    return Status::ok();
  }
  if (std::any_of(std::begin(kIdle), std::end(kIdle),
                  [&](std::string_view idle) { return iequals(idle, verb); })) {
    return Status::ok();
  }
  return transaction_command(line);
}

Status Parser::transaction_command(std::string_view line) {
  if (istarts_with(line, kMail)) return mail_command(line.substr(kMail.size()));
  if (istarts_with(line, kRcpt)) return rcpt_command(line.substr(kRcpt.size()));
  if (iequals(trim(line), "DATA")) return data_command();
  return bad("unknown command \"" + printable(line, 100) + "\"");
}

Status Parser::mail_command(std::string_view arguments) {
  if (state_ != State::kReady) {
    return bad(state_ == State::kGreeting ? "MAIL before EHLO" : "MAIL inside a transaction");
  }
  auto envelope = mail::parse_mail(arguments);
  if (!envelope.is_ok()) return bad("MAIL " + envelope.status().text());
  envelope_ = std::move(envelope).value();
  state_ = State::kMail;
  return Status::ok();
}

Status Parser::rcpt_command(std::string_view arguments) {
  if (state_ != State::kMail) return bad("RCPT without MAIL");
  auto recipient = mail::parse_rcpt(arguments);
  if (!recipient.is_ok()) return bad("RCPT " + recipient.status().text());
  if (envelope_.recipients.size() == options_.limits.recipients) {
    return bad("a message to more than " + std::to_string(options_.limits.recipients) +
               " recipients");
  }
  envelope_.recipients.push_back(std::move(recipient).value());
  return Status::ok();
}

Status Parser::data_command() {
  if (state_ != State::kMail) return bad("DATA without MAIL");
  if (messages_ == options_.limits.messages) {
    return bad("more than " + std::to_string(options_.limits.messages) + " messages");
  }
  Requirements requirements;
  const Status agreed = requirements.add(envelope_, options_.agreement);
  if (!agreed.is_ok()) return bad(agreed.text());
  state_ = State::kText;
  scanner_ = {};
  text_octets_ = 0;
  return handler_.begin_message(envelope_, messages_);
}

Status Parser::finish() {
  TRY(failure_);
  // A signed part's last line end may have been taken for the boundary's (PMDF's script).
  if (iequals(line_, "QUIT") || iequals(line_, "QUIT\r")) {
    line_.clear();
    envelope_ = {};
    state_ = state_ == State::kText ? state_ : State::kQuit;
  }
  const bool blank_rest = state_ == State::kQuit && is_blank_line(line_);
  if (!line_.empty() && !blank_rest) {
    failure_ = bad("the batch ends inside it");
  } else if (state_ == State::kText || state_ == State::kMail) {
    failure_ = bad("the batch ends inside a transaction");
  } else if (state_ == State::kGreeting) {
    failure_ = bad("the batch is empty");
  } else if (options_.require_quit && state_ != State::kQuit) {
    failure_ = bad("the batch ends without QUIT");
  }
  return failure_;
}

}  // namespace bsmtp::batch
