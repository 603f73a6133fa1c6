// libs: common/mail common/base
// Header scanner and filter: same result octet by octet as at once; what is kept is unchanged.
#include "common/mail/header.h"
#include "common/mail/received.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;
using namespace bsmtp::mail;

struct Seen {
  bool ok = true;
  std::size_t fields = 0;
  std::size_t received = 0;
  std::uint64_t octets = 0;
  std::string out;
  std::size_t removed = 0;
};

Seen look(std::string_view text, std::size_t step, bool stuffed) {
  Seen seen;
  HeaderScanner::Options options;
  options.stuffed = stuffed;
  options.limits = {2048, 20};
  options.own_mark = "own";
  HeaderScanner scanner(options);
  StringSink sink(1U << 22U);
  HeaderFilter filter(sink, stuffed, remove_authentication_results({"a.example", "b"}));
  for (std::size_t i = 0; i < text.size(); i += step) {
    seen.ok = seen.ok && scanner.write(text.substr(i, step)).is_ok();
    FUZZ_CHECK(filter.write(text.substr(i, step)).is_ok());
  }
  seen.ok = seen.ok && scanner.finish().is_ok();
  FUZZ_CHECK(filter.finish().is_ok());
  seen.fields = scanner.field_count();
  seen.received = scanner.received();
  seen.octets = scanner.block_octets();
  seen.out = sink.take();
  seen.removed = filter.removed();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  for (const bool stuffed : {false, true}) {
    const Seen whole = look(text, size + 1, stuffed);
    for (const std::size_t step : {1U, 7U}) {
      const Seen cut = look(text, step, stuffed);
      FUZZ_CHECK(cut.ok == whole.ok && cut.fields == whole.fields);
      FUZZ_CHECK(cut.received == whole.received && cut.octets == whole.octets);
      FUZZ_CHECK(cut.out == whole.out && cut.removed == whole.removed);
    }
    FUZZ_CHECK(whole.octets <= size);
    FUZZ_CHECK(whole.removed != 0 || whole.out == text);
    // Nothing of ours is left for a second pass to find.
    FUZZ_CHECK(look(whole.out, size + 1, stuffed).removed == 0);
  }
  const ReceivedTls tls = received_tls(text, "athena.domain.co.uk");
  FUZZ_CHECK(tls.version.size() <= 12 && tls.verify.size() <= 12);
  // Nothing that is not told counts.
  FUZZ_CHECK(tls.verify.empty() || tls.version.starts_with("TLSv") ||
             tls.version.starts_with("SSLv"));
  FUZZ_CHECK(received_id(text).size() <= 100);
  claims_authserv_id(text, true, {"a.example"});
  return 0;
}
