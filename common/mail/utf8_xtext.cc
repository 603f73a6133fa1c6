// See utf8_xtext.h.
#include "common/mail/utf8_xtext.h"

#include <array>
#include <cstdint>
#include <cstdio>

#include "common/mail/utf8.h"

namespace bsmtp::mail {
namespace {

// The code point of a valid sequence.
std::uint32_t code_point(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence.front());
  if (sequence.size() == 1) {
    return first;
  }
  std::uint32_t code = first & (0x7FU >> sequence.size());
  for (const char c : sequence.substr(1)) {
    code = (code << 6U) | (static_cast<unsigned char>(c) & 0x3FU);
  }
  return code;
}

}  // namespace

std::string to_utf8_xtext(std::string_view address) {
  std::string out;
  while (!address.empty()) {
    const auto c = static_cast<unsigned char>(address.front());
    const std::size_t length = utf8_length(address);
    if (length == 0) {
      return {};
    }
    if (c > 0x20 && c < 0x7f && c != '+' && c != '=' && c != '\\') {
      out.push_back(address.front());
    } else {
      std::array<char, 16> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x{%02X}",
                    code_point(address.substr(0, length)));
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
