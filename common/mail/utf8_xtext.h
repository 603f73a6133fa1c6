// Addresses beyond ASCII in ORCPT and in reports: utf-8-addr-xtext of RFC 6533 3, in which a
// character stands as \x{HEX}. Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bsmtp::mail {

// An escape for what is not printable ASCII, and for the three characters that would be read as
// one. "" when `address` is not UTF-8.
std::string to_utf8_xtext(std::string_view address);
// The reverse; what is no escape is taken as it stands. nullopt for an escape of no character.
std::optional<std::string> from_utf8_xtext(std::string_view text);

}  // namespace bsmtp::mail
