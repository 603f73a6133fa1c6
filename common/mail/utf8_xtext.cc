// See utf8_xtext.h.
#include "common/mail/utf8_xtext.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <tuple>
#include <utility>

namespace bsmtp::mail {
namespace {

// Length and code point of the UTF-8 sequence that begins `s`; length 0 when it is malformed.
std::pair<std::size_t, std::uint32_t> decode_utf8(std::string_view s) {
  const auto first = static_cast<unsigned char>(s.front());
  std::size_t length = 0;
  std::uint32_t code = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    code = first & 0x1FU;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    code = first & 0x0FU;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    code = first & 0x07U;
  }
  if (length == 0 || length > s.size()) {
    return {0, 0};
  }
  for (std::size_t i = 1; i < length; ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if ((c & 0xC0U) != 0x80) {
      return {0, 0};
    }
    code = (code << 6U) | (c & 0x3FU);
  }
  return {length, code};
}

}  // namespace

std::string to_utf8_xtext(std::string_view address) {
  std::string out;
  while (!address.empty()) {
    const auto c = static_cast<unsigned char>(address.front());
    std::size_t length = 1;
    std::uint32_t code = c;
    if (c >= 0x80) {
      std::tie(length, code) = decode_utf8(address);
      if (length == 0) {
        return {};
      }
    }
    if (c > 0x20 && c < 0x7f && c != '+' && c != '=' && c != '\\') {
      out.push_back(address.front());
    } else {
      std::array<char, 16> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x{%02X}", code);
      out += escape.data();
    }
    address.remove_prefix(length);
  }
  return out;
}

namespace {

constexpr std::uint32_t kMaxCode = 0x10FFFF;

// One to six hex digits; nullopt for anything else, NUL, and what UTF-8 cannot say.
std::optional<std::uint32_t> code_of(std::string_view hex) {
  std::uint32_t code = 0;
  if (hex.empty() || hex.size() > 6) {
    return std::nullopt;
  }
  for (const char c : hex) {
    const std::size_t digit = std::string_view("0123456789ABCDEFabcdef").find(c);
    if (digit == std::string_view::npos) {
      return std::nullopt;
    }
    code = code * 16 + static_cast<std::uint32_t>(digit < 16 ? digit : digit - 6);
  }
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code == 0 || code > kMaxCode || surrogate ? std::nullopt : std::optional(code);
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t octet) { out += static_cast<char>(octet); };
  if (code < 0x80) {
    put(code);
    return;
  }
  if (code < 0x800) {
    put(0xC0U | (code >> 6U));
  } else {
    if (code < 0x10000) {
      put(0xE0U | (code >> 12U));
    } else {
      put(0xF0U | (code >> 18U));
      put(0x80U | ((code >> 12U) & 0x3FU));
    }
    put(0x80U | ((code >> 6U) & 0x3FU));
  }
  put(0x80U | (code & 0x3FU));
}

}  // namespace

std::optional<std::string> from_utf8_xtext(std::string_view text) {
  constexpr std::string_view kOpen = "\\x{";
  std::string out;
  for (std::size_t at = text.find(kOpen); at != std::string_view::npos; at = text.find(kOpen)) {
    out += text.substr(0, at);
    const std::size_t end = text.find('}', at);
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    const auto code = code_of(text.substr(at + kOpen.size(), end - at - kOpen.size()));
    if (!code) {
      return std::nullopt;
    }
    append_utf8(out, *code);
    text.remove_prefix(end + 1);
  }
  return out.append(text);
}

}  // namespace bsmtp::mail
