// libs: common/socketmap common/base
// Socketmap requests: views lie inside the input, a request is the same whatever follows it, what
// is cut is incomplete or bad, and bad text stays bad with more of it.
#include <string>

#include "common/socketmap/protocol.h"
#include "tests/support/fuzz_property.h"

using namespace bsmtp;

namespace {

void check_request(std::string_view text, const socketmap::Parsed& parsed) {
  const std::string_view frame = text.substr(0, parsed.consumed);
  FUZZ_CHECK(parsed.consumed <= text.size() && parsed.consumed <= socketmap::kMaxFrame);
  FUZZ_CHECK(!parsed.name.empty() && parsed.name.find(' ') == std::string_view::npos);
  const std::string payload = std::string(parsed.name) + " " + std::string(parsed.key);
  FUZZ_CHECK(std::to_string(payload.size()) + ":" + payload + "," == frame);
  FUZZ_CHECK(socketmap::parse_request(frame).outcome == socketmap::Outcome::kRequest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = as_text(data, size);
  for (;;) {
    const socketmap::Parsed parsed = socketmap::parse_request(text);
    if (parsed.outcome == socketmap::Outcome::kIncomplete) {
      FUZZ_CHECK(text.size() < socketmap::kMaxFrame);
    }
    bool was_bad = false;
    const std::size_t end =
        parsed.outcome == socketmap::Outcome::kRequest ? parsed.consumed : text.size() + 1;
    for (std::size_t n = 0; n < end && n < 64; ++n) {
      const auto outcome = socketmap::parse_request(text.substr(0, n)).outcome;
      FUZZ_CHECK(outcome != socketmap::Outcome::kRequest);
      FUZZ_CHECK(!was_bad || outcome == socketmap::Outcome::kBad);
      was_bad = outcome == socketmap::Outcome::kBad;
    }
    if (parsed.outcome != socketmap::Outcome::kRequest) {
      return 0;
    }
    FUZZ_CHECK(!was_bad);
    check_request(text, parsed);
    text.remove_prefix(parsed.consumed);
  }
}
