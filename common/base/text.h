// Small text helpers: ASCII-only case folding, splitting, trimming, joining, numbers, and
// printable() through which all untrusted text passes on its way to a log or a terminal.
// None depends on the locale. Threads: pure functions.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bsmtp {

inline char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
inline char ascii_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
std::string to_lower(std::string_view s);
std::string to_upper(std::string_view s);
bool iequals(std::string_view a, std::string_view b);
bool istarts_with(std::string_view s, std::string_view prefix);
bool iends_with(std::string_view s, std::string_view suffix);
// Without blanks and tabs (and CR, LF) at both ends.
std::string_view trim(std::string_view s);
// All fields between separators, empty ones included; one empty field for "".
std::vector<std::string_view> split(std::string_view s, char separator);
// Fields separated by runs of blanks or tabs; none is empty.
std::vector<std::string_view> split_blank(std::string_view s);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string str_cat(std::initializer_list<std::string_view> parts);
// Whole string as a decimal number; nullopt for anything else or overflow.
std::optional<std::uint64_t> parse_u64(std::string_view s);
std::string to_hex(std::string_view bytes);
// `s` with control characters, DEL, non-UTF-8 octets and bidi/line-separator code points
// replaced by "?" and at most `limit` octets (then "..."): safe for one log line.
std::string printable(std::string_view s, std::size_t limit = 1000);
// JSON string literal with quotes (RFC 8259 7); invalid UTF-8 becomes U+FFFD.
std::string json_quote(std::string_view s);
// Levenshtein distance, for "did you mean" messages; capped work: inputs over 64 -> 64.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace bsmtp
