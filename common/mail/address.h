// Addresses as RFC 5321 4.1.2 and RFC 6531 3.3 write them: splitting at the right '@', quoted
// local parts, source routes, literals, UTF-8, domain patterns of the configuration.
// Everything works on an address without angle brackets; "" is the null reverse-path and is
// never a Mailbox. Case is kept, comparing domains ignores ASCII case. Nothing here asks DNS.
// Threads: pure functions and values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::mail {

// RFC 5321 4.5.3.1.1-3 in octets. Local parts over 64 occur in practice (SRS, VERP), so the
// default refuses only what no command line can carry; callers that must be strict say so.
struct AddressLimits {
  std::size_t local = 512;
  std::size_t domain = 255;
  std::size_t total = 900;
};
inline constexpr AddressLimits kRfcAddressLimits{64, 255, 254};

// `local` is what the local part means: quotes and backslashes removed. `domain` is as written
// without a trailing dot, or a literal with its brackets; "" for a bare local part ("postmaster").
struct Mailbox {
  std::string local;
  std::string domain;
  bool operator==(const Mailbox&) const = default;
};

// Views into the address: left and right of the last '@' outside quotes. `has_at` tells
// "user" from "user@".
struct AddressParts {
  std::string_view local;  // still quoted as written
  std::string_view domain;
  bool has_at = false;
};
AddressParts split_address(std::string_view address);

// The address behind a source route "@a,@b:u@c" -> "u@c" (RFC 5321 appendix C: strip and
// ignore); unchanged when there is none. A malformed route, or one behind another, gives "".
std::string_view strip_source_route(std::string_view address);
std::string_view strip_trailing_dot(std::string_view domain);

// Strict: dot-atom or quoted-string local part (UTF-8 allowed), domain or literal or nothing.
// Source routes are stripped first, one trailing dot of the domain is dropped. Permanent
// 5.1.3 names the address and what is wrong with it.
Result<Mailbox> parse_mailbox(std::string_view address, const AddressLimits& limits = {});
// The shortest form that parse_mailbox reads back to the same Mailbox.
std::string format_mailbox(const Mailbox& mailbox);

// "a b" -> "\"a b\""; a dot-atom (RFC 5321 4.1.2, UTF-8 as RFC 6531) stays as it is.
std::string quote_local(std::string_view local);
// Undoes quoting; nullopt when it is neither a dot-atom nor one well-formed quoted-string.
std::optional<std::string> dequote_local(std::string_view quoted);
bool is_dot_atom(std::string_view text);

// Letters, digits, '-', '_' and UTF-8 in labels of 1-63 octets between single dots, 255 in all;
// '_' because real host names have it. No trailing dot.
bool is_domain(std::string_view text);
// "[" text "]" (RFC 5321 4.1.3), the text letters, digits and ".:-_%" only: all that address
// families use; '<', '>' and quotes, which RFC 5321 would allow, would end a path early.
bool is_domain_literal(std::string_view text);
bool is_ascii(std::string_view text);
// Well-formed UTF-8 (RFC 3629) without controls; true for plain ASCII without controls.
bool is_clean_utf8(std::string_view text);

// What a path may hold between '<' and '>' on a command line so that it cannot end the command
// or the path early: no controls, no blank, '<' or '>' outside quotes, quotes closed.
bool is_safe_path(std::string_view path);

// Domain patterns of the configuration: "a.b" that domain, ".a.b" any depth below it but not
// itself, "*" everything (also literals and no domain). ASCII case-insensitive; one trailing
// dot of `domain` is ignored.
bool domain_matches(std::string_view domain, std::string_view pattern);
bool domain_matches_any(std::string_view domain, const std::vector<std::string>& patterns);

}  // namespace bsmtp::mail
