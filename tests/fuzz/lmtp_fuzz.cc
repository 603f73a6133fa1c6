// libs: common/lmtp common/mail common/base
// LMTP sessions: bounded, the same replies and texts for any cutting of the input, one final reply
// per accepted recipient, and no text that mail cannot carry is ever whole.
#include <algorithm>
#include <string>
#include <vector>

#include "common/lmtp/server.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;

class Cut final : public Source {
 public:
  Cut(std::string_view text, std::size_t step) : text_(text), step_(step) {}
  Result<std::size_t> read(std::span<char> out) override {
    const std::size_t n = std::min({step_, out.size(), text_.size()});
    std::copy_n(text_.data(), n, out.data());
    text_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view text_;
  std::size_t step_;
};

class Log final : public lmtp::Handler {
 public:
  Status mail(const mail::Envelope& envelope) override {
    recipients_ = 0;
    return mail::format_mail(envelope).status();
  }
  Status rcpt(const mail::Recipient& recipient) override {
    TRY(mail::format_rcpt(recipient).status());
    ++recipients_;
    return Status::ok();
  }
  std::vector<lmtp::Outcome> deliver(Source& text) override {
    StringSink sink(64U << 20U);
    const Status status = copy(text, sink).status();
    if (status.is_ok()) {
      const std::string& whole = sink.str();
      FUZZ_CHECK(whole.find('\0') == std::string::npos);
      FUZZ_CHECK(whole.empty() || whole.ends_with("\r\n"));
      for (std::size_t i = 0; i < whole.size(); ++i) {
        FUZZ_CHECK(whole[i] != '\n' || (i > 0 && whole[i - 1] == '\r'));
        FUZZ_CHECK(whole[i] != '\r' || (i + 1 < whole.size() && whole[i + 1] == '\n'));
      }
    }
    seen += status.is_ok() ? sink.str() : status.code();
    finals += recipients_;
    return std::vector<lmtp::Outcome>(recipients_, {status, "kept"});
  }
  void reset() override { recipients_ = 0; }

  std::string seen;
  std::size_t finals = 0;

 private:
  std::size_t recipients_ = 0;
};

struct Seen {
  Log log;
  std::string replies;
};

void look(std::string_view text, std::size_t step, Seen& seen) {
  Cut in(text, step);
  StringSink out(64U << 20U);
  lmtp::Options options;
  options.host = "hub.domain.com";
  options.max_recipients = 100;
  FUZZ_CHECK(lmtp::serve(in, out, seen.log, options).is_ok());
  seen.replies = out.str();
}

// Of several octets that mail cannot carry, the reply names the first that a block shows.
std::string without_reason(std::string_view replies) {
  constexpr std::string_view kRefusal = "554 5.6.1 ";
  std::string out;
  while (!replies.empty()) {
    const std::size_t end = std::min(replies.find('\n'), replies.size() - 1) + 1;
    const std::string_view line = replies.substr(0, end);
    out += line.starts_with(kRefusal) ? kRefusal : line;
    replies.remove_prefix(end);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  Seen whole;
  Seen cut;
  look(text, size + 1, whole);
  look(text, 1, cut);
  FUZZ_CHECK(without_reason(whole.replies) == without_reason(cut.replies));
  FUZZ_CHECK(whole.log.seen == cut.log.seen && whole.log.finals == cut.log.finals);
  FUZZ_CHECK(whole.replies.starts_with("220 ") && whole.replies.ends_with("\r\n"));
  for (const char c : whole.replies) {
    FUZZ_CHECK(c == '\r' || c == '\n' || (c >= ' ' && c <= '~'));
  }
  return 0;
}
