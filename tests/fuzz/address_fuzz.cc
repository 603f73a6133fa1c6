// libs: common/mail common/base
// Addresses: whatever is accepted is safe on a command line and round-trips.
#include "common/mail/address.h"
#include "tests/support/fuzz_property.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bsmtp::mail;
  const std::string_view text = as_text(data, size);
  const AddressParts parts = split_address(text);
  FUZZ_CHECK(parts.local.size() + parts.domain.size() + (parts.has_at ? 1 : 0) == size);
  if (const auto local = dequote_local(parts.local)) {
    FUZZ_CHECK(dequote_local(quote_local(*local)) == local);
  }
  if (const auto mailbox = parse_mailbox(text); mailbox.is_ok()) {
    const std::string written = format_mailbox(*mailbox);
    FUZZ_CHECK(is_safe_path(written));
    const auto again = parse_mailbox(written, {10000, 10000, 20000});
    FUZZ_CHECK(again.is_ok() && *again == *mailbox);
  }
  if (is_safe_path(text)) {
    FUZZ_CHECK(text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  }
  domain_matches(text, parts.domain);
  is_domain_literal(text);
  return 0;
}
