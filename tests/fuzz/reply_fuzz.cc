// libs: common/smtp common/base
// SMTP replies: bounded, the same for any cutting, always a Status of the reply's class.
#include "common/smtp/reply.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp::smtp;

struct Seen {
  bool ok = true;
  bool done = false;
  std::size_t consumed = 0;
  Reply reply;
};

Seen look(std::string_view text, std::size_t step) {
  Seen seen;
  ReplyParser parser;
  for (std::size_t i = 0; i < text.size() && seen.ok && !parser.done(); i += step) {
    const auto n = parser.feed(text.substr(i, step));
    seen.ok = n.is_ok();
    seen.consumed += seen.ok ? *n : 0;
  }
  seen.done = seen.ok && parser.done();
  if (seen.done) {
    seen.reply = parser.take();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  const Seen whole = look(text, size + 1);
  const Seen cut = look(text, 1);
  FUZZ_CHECK(whole.ok == cut.ok && whole.done == cut.done);
  if (!whole.done) return 0;
  FUZZ_CHECK(whole.consumed == cut.consumed && whole.consumed <= size);
  FUZZ_CHECK(whole.reply.to_string() == cut.reply.to_string());
  FUZZ_CHECK(whole.reply.code >= 200 && whole.reply.code <= 599);
  const bsmtp::Status status = whole.reply.to_status("peer");
  FUZZ_CHECK(status.is_ok() == whole.reply.is_positive());
  FUZZ_CHECK(status.is_permanent() == whole.reply.is_permanent());
  return 0;
}
