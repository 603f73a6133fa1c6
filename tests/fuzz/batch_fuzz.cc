// libs: common/bsmtp common/mail common/base
// The batch parser: same events for any cutting; what it heard can be written again by our own
// writer and is then heard the same; items are read as strictly.
#include "common/bsmtp/parser.h"
#include "common/bsmtp/writer.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;
using namespace bsmtp::batch;

struct Heard {
  mail::Envelope envelope;
  std::string text;
  std::uint64_t octets = 0;
};

class Recorder final : public Handler {
 public:
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override {
    FUZZ_CHECK(index == heard.size() && !open_);
    open_ = true;
    heard.push_back({envelope, "", 0});
    return Status::ok();
  }
  Status text(std::string_view stuffed) override {
    FUZZ_CHECK(open_);
    heard.back().text += stuffed;
    return Status::ok();
  }
  Status end_message(const mail::TextFacts& facts) override {
    FUZZ_CHECK(open_);
    open_ = false;
    heard.back().octets = facts.octets;
    return Status::ok();
  }
  std::vector<Heard> heard;

 private:
  bool open_ = false;
};

struct Seen {
  bool ok = true;
  std::vector<Heard> heard;
};

Seen look(std::string_view text, std::size_t step, bool lf) {
  Recorder recorder;
  Parser::Options options;
  options.limits.messages = 5;
  options.limits.recipients = 5;
  options.limits.text_line = 2000;
  options.limits.text_octets = 5000;
  options.agreement.smtputf8 = true;
  options.lf_if_first_line_is = lf;
  Parser parser(recorder, options);
  Seen seen;
  for (std::size_t i = 0; i < text.size() && seen.ok; i += step) {
    seen.ok = parser.write(text.substr(i, step)).is_ok();
  }
  seen.ok = seen.ok && parser.finish().is_ok();
  seen.heard = std::move(recorder.heard);
  return seen;
}

std::string head_of(const Heard& heard) {
  if (heard.envelope.recipients.empty()) return "";
  const auto head = mail::format_transaction_head(heard.envelope);
  return head.is_ok() ? *head : "";
}

void check_same(const Seen& a, const Seen& b) {
  FUZZ_CHECK(a.ok == b.ok);
  if (!a.ok) return;
  FUZZ_CHECK(a.heard.size() == b.heard.size());
  for (std::size_t i = 0; i < a.heard.size(); ++i) {
    FUZZ_CHECK(a.heard[i].text == b.heard[i].text && a.heard[i].octets == b.heard[i].octets);
    FUZZ_CHECK(head_of(a.heard[i]) == head_of(b.heard[i]));
  }
}

// Writes what was heard as items into a batch of our own and listens again.
void check_rewritten(const Seen& seen) {
  StringSink sink(1U << 24U);
  Writer writer(sink, {"hub.example", {.smtputf8 = true}});
  FUZZ_CHECK(writer.begin().is_ok());
  Seen kept;
  for (const Heard& heard : seen.heard) {
    const std::string head = head_of(heard);
    if (head.empty()) continue;
    const std::string item = head + heard.text + ".\r\n";
    StringSource source(item);
    FUZZ_CHECK(writer.add_item(source).is_ok());
    kept.heard.push_back(heard);
  }
  FUZZ_CHECK(writer.finish().is_ok());
  check_same(kept, look(sink.str(), 1U << 24U, false));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  for (const bool lf : {false, true}) {
    const Seen whole = look(text, size + 1, lf);
    check_same(whole, look(text, 1, lf));
    check_same(whole, look(text, 5, lf));
    if (whole.ok) {
      check_rewritten(whole);
    }
  }
  StringSource item(text);
  if (const auto info = inspect_item(item); info.is_ok()) {
    FUZZ_CHECK(info->octets == size);
  }
  if (const auto keywords = parse_required_extensions(text); keywords.is_ok()) {
    FUZZ_CHECK(!keywords->empty());
    static_cast<void>(check_required_extensions(*keywords, {}).is_ok());
  }
  return 0;
}
