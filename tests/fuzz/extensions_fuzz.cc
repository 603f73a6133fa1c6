// libs: common/bsmtp common/smtp common/mail common/base
// The value of required-extensions, the lines of a server's reply to EHLO, and RFC 6533's escapes:
// bounded, nothing unknown is taken for known, escapes come back as they went.
#include "common/base/text.h"
#include "common/bsmtp/extensions.h"
#include "common/mail/address.h"
#include "common/mail/utf8_xtext.h"
#include "common/smtp/extensions.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;

constexpr std::string_view kKnown[] = {"8BITMIME", "SIZE", "NOTARY", "DSN", "SMTPUTF8"};

void check_required(std::string_view text) {
  const auto keywords = batch::parse_required_extensions(text);
  if (!keywords.is_ok()) {
    FUZZ_CHECK(keywords.status().is_permanent());
    return;
  }
  FUZZ_CHECK(keywords->size() <= 32);
  bool listed = true;
  for (const std::string& keyword : *keywords) {
    FUZZ_CHECK(keyword.size() <= 64 && keyword.find_first_of("\r\n ,\"") == std::string::npos);
    bool known = false;
    for (const std::string_view name : kKnown) {
      known = known || iequals(keyword, name);
    }
    listed = listed && known;
  }
  const bool all = batch::check_required_extensions(*keywords, {true}).is_ok();
  FUZZ_CHECK(all || !listed);  // what we have is never refused
  FUZZ_CHECK(all || !batch::check_required_extensions(*keywords, {false}).is_ok());
}

void check_announced(std::string_view text) {
  smtp::Reply reply;
  reply.code = 250;
  for (const std::string_view line : split(text, '\n')) {
    reply.lines.emplace_back(line);
  }
  const smtp::Extensions announced = smtp::parse_extensions(reply);
  FUZZ_CHECK(announced.size || announced.max_size == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  check_required(text);
  check_announced(text);
  // An address holds no NUL, and no escape may make one.
  if (const auto decoded = mail::from_utf8_xtext(text);
      decoded && text.find('\0') == std::string_view::npos) {
    const std::string encoded = mail::to_utf8_xtext(*decoded);
    FUZZ_CHECK(encoded.empty() || mail::is_ascii(encoded));
    FUZZ_CHECK(encoded.empty() || mail::from_utf8_xtext(encoded) == decoded);
  }
  return 0;
}
