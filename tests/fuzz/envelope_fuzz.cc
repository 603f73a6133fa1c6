// libs: common/mail common/base
// MAIL and RCPT arguments: what is accepted is written as one line that reads back the same.
#include "common/mail/envelope.h"
#include "tests/support/fuzz_property.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bsmtp::mail;
  const std::string_view text = as_text(data, size);
  if (const auto envelope = parse_mail(text); envelope.is_ok()) {
    if (const auto line = format_mail(*envelope); line.is_ok()) {
      FUZZ_CHECK(line->find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      const auto again = parse_mail(std::string_view(*line).substr(10));
      FUZZ_CHECK(again.is_ok() && *format_mail(*again) == *line);
      FUZZ_CHECK(again->sender == envelope->sender);
    }
  }
  if (const auto recipient = parse_rcpt(text); recipient.is_ok()) {
    if (const auto line = format_rcpt(*recipient); line.is_ok()) {
      FUZZ_CHECK(line->find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      const auto again = parse_rcpt(std::string_view(*line).substr(8));
      FUZZ_CHECK(again.is_ok() && *format_rcpt(*again) == *line);
    }
  }
  FUZZ_CHECK(*from_xtext(to_xtext(text)) == text);
  if (const auto decoded = from_xtext(text); decoded.is_ok()) {
    FUZZ_CHECK(*from_xtext(to_xtext(*decoded)) == *decoded);
  }
  return 0;
}
