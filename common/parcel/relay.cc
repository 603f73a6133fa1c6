#include "common/parcel/relay.h"

#include <algorithm>
#include <array>
#include <optional>

#include "common/base/text.h"
#include "common/bsmtp/extensions.h"
#include "common/mail/envelope.h"
#include "common/mail/line.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kHead = 5;
constexpr std::size_t kMaxPayload = kBlockSize;
constexpr std::size_t kMaxManifests = 2;  // two are refused, so a third says nothing new
constexpr std::size_t kMaxReason = 400;
constexpr std::string_view kMail = "MAIL FROM:";
constexpr std::string_view kRcpt = "RCPT TO:";
constexpr std::string_view kEndDot = ".\r\n";
// Converting line ends and stuffing make at most three octets of one.
constexpr std::uint64_t kMaxGrowth = 3;

// "5.6.0 words", as RelayWriter::end() writes it.
std::optional<Status> parse_failure(std::string_view payload, bool permanent) {
  const std::size_t blank = payload.find(' ');
  const std::string_view code = payload.substr(0, blank);
  const bool form = code.size() >= 5 && code.size() <= 9 && code[1] == '.' &&
                    code[0] == (permanent ? '5' : '4') &&
                    code.find_first_not_of("0123456789.") == std::string_view::npos;
  if (blank == std::string_view::npos || !form) {
    return std::nullopt;
  }
  const std::string text = printable(payload.substr(blank + 1), kMaxReason);
  return permanent ? Status::permanent(std::string(code), text)
                   : Status::temporary(std::string(code), text);
}

class Discard final : public Sink {
 public:
  Status write(std::string_view /*data*/) override { return Status::ok(); }
};

// What scanning lets through, to the handler; its failure is kept apart.
class ToHandler final : public Sink {
 public:
  explicit ToHandler(batch::Handler& handler) : handler_(handler) {}
  Status write(std::string_view data) override {
    failure_ = handler_.text(data);
    return failure_;
  }
  const Status& failure() const { return failure_; }

 private:
  batch::Handler& handler_;
  Status failure_;
};

class RelayReader {
 public:
  RelayReader(Source& from, const RelayLimits& limits,
              const std::function<Status(const std::vector<std::string>&)>& check_manifests,
              batch::Handler& handler)
      : from_(from), limits_(limits), check_(check_manifests), handler_(handler), text_(handler) {}

  RelayEnd run() {
    while (end_.kind == RelayEnd::Kind::kCut && end_.status.is_ok()) {
      char type = 0;
      std::string_view payload;
      if (!next(type, payload)) {
        break;
      }
      if (!take(type, payload)) {
        end_ = {RelayEnd::Kind::kNotBelieved, Status::permanent("5.6.0", why_), 0};
      }
    }
    return end_;
  }

 private:
  enum class State { kHeader, kReady, kEnvelope, kText };
  using Kind = RelayEnd::Kind;

  // One record; false at the end of the stream or with end_ set.
  bool next(char& type, std::string_view& payload);
  bool fill(std::size_t wanted);
  // False: not to be believed, why_ says what.
  bool take(char type, std::string_view payload);
  bool take_header(char type, std::string_view payload);
  bool take_command(char type, std::string_view payload);
  bool take_text(std::string_view payload);
  bool take_end_of_text(std::string_view payload);
  bool take_last(char type, std::string_view payload);
  bool odd(std::string_view why) {
    why_ = why;
    return false;
  }
  // Ours failed: the record is fine, the stream is not read on.
  bool own(const Status& status) {
    if (!status.is_ok()) {
      end_ = {Kind::kOwn, status, 0};
    }
    return true;
  }

  Source& from_;
  const RelayLimits& limits_;
  const std::function<Status(const std::vector<std::string>&)>& check_;
  batch::Handler& handler_;
  ToHandler text_;
  RelayEnd end_;
  std::string why_;
  State state_ = State::kHeader;
  std::vector<std::string> manifests_;
  mail::Envelope envelope_;
  mail::TextEndScanner scanner_;
  std::size_t messages_ = 0;
  std::uint64_t octets_ = 0;  // of text so far
  std::string buffer_;
  std::size_t begin_ = 0;
};

bool RelayReader::fill(std::size_t wanted) {
  while (buffer_.size() - begin_ < wanted) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + kBlockSize);
    const auto got = from_.read(std::span<char>(buffer_).subspan(had));
    buffer_.resize(had + (got.is_ok() ? *got : 0));
    if (!got.is_ok()) {
      own(got.status());
      return false;
    }
    if (*got == 0) {
      return false;
    }
  }
  return true;
}

bool RelayReader::next(char& type, std::string_view& payload) {
  if (!fill(kHead)) {
    return false;
  }
  std::size_t size = 0;
  for (std::size_t i = kHead; i-- > 1;) {
    size = size << 8U | static_cast<unsigned char>(buffer_[begin_ + i]);
  }
  if (size > kMaxPayload) {
    end_ = {Kind::kNotBelieved, Status::permanent("5.6.0", "a record is too long"), 0};
    return false;
  }
  if (!fill(kHead + size)) {
    return false;
  }
  type = buffer_[begin_];
  payload = std::string_view(buffer_).substr(begin_ + kHead, size);
  begin_ += kHead + size;
  return true;
}

bool RelayReader::take(char type, std::string_view payload) {
  if (type == 'P' || type == 'X' || type == 'F') {
    return take_last(type, payload);
  }
  switch (state_) {
    case State::kHeader:
      return take_header(type, payload);
    case State::kReady:
    case State::kEnvelope:
      return take_command(type, payload);
    case State::kText:
      return type == 'T'   ? take_text(payload)
             : type == 'E' ? take_end_of_text(payload)
                           : odd("a command inside a text");
  }
  return odd("no state");
}

bool RelayReader::take_header(char type, std::string_view payload) {
  if (type == 'H' && manifests_.size() < kMaxManifests) {
    manifests_.emplace_back(payload);
    return true;
  }
  if (type != 'h' || !payload.empty()) {
    return odd("a message before its header");
  }
  state_ = State::kReady;
  return own(check_(manifests_));
}

bool RelayReader::take_command(char type, std::string_view payload) {
  if (type == 'S' && state_ == State::kReady && istarts_with(payload, kMail)) {
    auto envelope = mail::parse_mail(payload.substr(kMail.size()));
    if (!envelope.is_ok() || messages_ == limits_.limits.messages) {
      return odd("a bad sender, or too many messages");
    }
    envelope_ = std::move(envelope).value();
    state_ = State::kEnvelope;
    return true;
  }
  if (type == 'R' && state_ == State::kEnvelope && istarts_with(payload, kRcpt)) {
    auto recipient = mail::parse_rcpt(payload.substr(kRcpt.size()));
    if (!recipient.is_ok() || envelope_.recipients.size() == limits_.limits.recipients) {
      return odd("a bad recipient, or too many of them");
    }
    envelope_.recipients.push_back(std::move(recipient).value());
    return true;
  }
  if (type != 'D' || state_ != State::kEnvelope || !payload.empty()) {
    return odd("a record out of order");
  }
  batch::Requirements requirements;
  if (!requirements.add(envelope_, limits_.agreement).is_ok()) {
    return odd("an envelope beyond what was agreed");
  }
  state_ = State::kText;
  scanner_ = {};
  return own(handler_.begin_message(envelope_, messages_++));
}

bool RelayReader::take_text(std::string_view payload) {
  octets_ += payload.size();
  if (octets_ / kMaxGrowth >
      std::max(limits_.limits.inflate.max_bytes, limits_.limits.parcel_bytes)) {
    return odd("more text than the parcel may hold");
  }
  const auto used = scanner_.feed(payload, text_);
  if (!used.is_ok()) {
    return text_.failure().is_ok() ? odd(used.status().text()) : own(text_.failure());
  }
  if (!scanner_.violation().is_ok()) {
    // A sound parser sees it too, but passes text on before it judges it: the batch is at fault.
    end_ = {Kind::kRefused, Status::permanent("5.6.0", scanner_.violation().text()), 0};
    return true;
  }
  if (scanner_.done()) {
    return odd("text with an end inside it");
  }
  return scanner_.facts().longest_line <= limits_.limits.line || odd("a line that is too long");
}

bool RelayReader::take_end_of_text(std::string_view payload) {
  if (!payload.empty() || !scanner_.at_line_start()) {
    return odd("text that ends inside a line");
  }
  Discard nothing;
  const auto used = scanner_.feed(kEndDot, nothing);
  if (!used.is_ok() || !scanner_.done()) {
    return odd("text without an end");
  }
  state_ = State::kReady;
  return own(handler_.end_message(scanner_.facts()));
}

bool RelayReader::take_last(char type, std::string_view payload) {
  if (type == 'F') {
    if (state_ != State::kReady || payload.size() != sizeof(std::uint64_t)) {
      return odd("an end at the wrong place");
    }
    std::uint64_t octets = 0;
    for (std::size_t i = payload.size(); i-- > 0;) {
      octets = octets << 8U | static_cast<unsigned char>(payload[i]);
    }
    end_ = {Kind::kComplete, Status::ok(), octets};
    return true;
  }
  auto failure = parse_failure(payload, type == 'P');
  if (!failure) {
    return odd("a verdict without its status code");
  }
  end_ = {type == 'P' ? Kind::kRefused : Kind::kTrouble, std::move(*failure), 0};
  return true;
}

}  // namespace

Status RelayWriter::record(char type, std::string_view payload) {
  std::array<char, kHead> head{type};
  std::size_t size = payload.size();
  for (std::size_t i = 1; i < kHead; ++i, size >>= 8U) {
    head.at(i) = static_cast<char>(size & 0xffU);
  }
  TRY(out_.write(std::string_view(head.data(), head.size())));
  return out_.write(payload);
}

Status RelayWriter::header(const std::vector<std::string>& manifests) {
  for (std::size_t i = 0; i < std::min(manifests.size(), kMaxManifests); ++i) {
    TRY(record('H', std::string_view(manifests[i]).substr(0, kMaxPayload)));
  }
  return record('h', {});
}

Status RelayWriter::begin_message(const mail::Envelope& envelope, std::size_t /*index*/) {
  TRY_ASSIGN(const std::string sender, mail::format_mail(envelope));
  TRY(record('S', sender));
  for (const mail::Recipient& recipient : envelope.recipients) {
    TRY_ASSIGN(const std::string line, mail::format_rcpt(recipient));
    TRY(record('R', line));
  }
  return record('D', {});
}

Status RelayWriter::text(std::string_view stuffed) {
  while (!stuffed.empty()) {
    TRY(record('T', stuffed.substr(0, kMaxPayload)));
    stuffed.remove_prefix(std::min(kMaxPayload, stuffed.size()));
  }
  return Status::ok();
}

Status RelayWriter::end_message(const mail::TextFacts& /*facts*/) {
  return record('E', {});
}

Status RelayWriter::end(std::uint64_t batch_octets) {
  std::string octets;
  for (std::size_t i = 0; i < sizeof batch_octets; ++i, batch_octets >>= 8U) {
    octets += static_cast<char>(batch_octets & 0xffU);
  }
  TRY(record('F', octets));
  return out_.finish();
}

Status RelayWriter::end(const Status& failure) {
  TRY(record(failure.is_permanent() ? 'P' : 'X', str_cat({failure.code(), " ", failure.text()})));
  return out_.finish();
}

RelayEnd read_relay(Source& from, const RelayLimits& limits,
                    const std::function<Status(const std::vector<std::string>&)>& check_manifests,
                    batch::Handler& handler) {
  return RelayReader(from, limits, check_manifests, handler).run();
}

}  // namespace bsmtp::parcel
