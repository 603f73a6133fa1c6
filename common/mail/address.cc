#include "common/mail/address.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/utf8.h"

namespace bsmtp::mail {
namespace {

bool is_control(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u < 0x20 || u == 0x7F;
}

bool is_high(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// RFC 5322 3.2.3 atext, RFC 6531 3.3 with UTF-8.
bool is_atext(char c) {
  return is_alnum(c) || is_high(c) ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

Status bad_address(std::string_view address, std::string_view why) {
  return Status::permanent("5.1.3", str_cat({"address <", printable(address, 300), ">: ", why}));
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), is_high);
}

bool is_clean_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0 || is_control(text[0])) return false;
    // C1 controls (U+0080 to U+009F) are controls for a terminal as well.
    if (n == 2 && text[0] == '\xC2' && static_cast<unsigned char>(text[1]) < 0xA0) return false;
    text.remove_prefix(n);
  }
  return true;
}

AddressParts split_address(std::string_view address) {
  std::size_t at = std::string_view::npos;
  bool quoted = false;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const char c = address[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == '@' && !quoted) {
      at = i;
    }
  }
  if (quoted) {  // quotes that never close protect nothing
    at = address.rfind('@');
  }
  if (at == std::string_view::npos) return {address, {}, false};
  return {address.substr(0, at), address.substr(at + 1), true};
}

std::string_view strip_source_route(std::string_view address) {
  if (address.empty() || address[0] != '@') return address;
  bool literal = false;  // "[IPv6:...]" holds colons
  for (std::size_t i = 0; i < address.size(); ++i) {
    const char c = address[i];
    if (c == '[') {
      literal = true;
    } else if (c == ']') {
      literal = false;
    } else if (c == '"') {
      break;
    } else if (c == ':' && !literal) {
      address.remove_prefix(i + 1);
      // A second route would be taken for the first by the next reader.
      return address.starts_with('@') ? std::string_view() : address;
    }
  }
  return {};
}

std::string_view strip_trailing_dot(std::string_view domain) {
  if (domain.size() > 1 && domain.back() == '.') {
    domain.remove_suffix(1);
  }
  return domain;
}

bool is_dot_atom(std::string_view text) {
  bool atom_before = false;
  for (const char c : text) {
    if (c == '.' ? !atom_before : !is_atext(c)) return false;
    atom_before = c != '.';
  }
  return atom_before;
}

std::string quote_local(std::string_view local) {
  if (is_dot_atom(local)) return std::string(local);
  std::string out = "\"";
  for (const char c : local) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out += '"';
}

std::optional<std::string> dequote_local(std::string_view quoted) {
  if (is_dot_atom(quoted)) return std::string(quoted);
  if (quoted.size() < 2 || quoted.front() != '"' || quoted.back() != '"') return std::nullopt;
  const std::string_view inner = quoted.substr(1, quoted.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '"') return std::nullopt;
    if (inner[i] == '\\' && ++i == inner.size()) return std::nullopt;
    if (is_control(inner[i])) return std::nullopt;
    out += inner[i];
  }
  return out;
}

bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  for (const std::string_view label : split(text, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return false;
    }
    const bool clean = std::all_of(label.begin(), label.end(), [](char c) {
      return is_alnum(c) || is_high(c) || c == '-' || c == '_';
    });
    if (!clean) return false;
  }
  return is_clean_utf8(text);
}

bool is_domain_literal(std::string_view text) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  text = text.substr(1, text.size() - 2);
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '.' || c == ':' || c == '-' || c == '_' || c == '%';
  });
}

Result<Mailbox> parse_mailbox(std::string_view address, const AddressLimits& limits) {
  const std::string_view path = strip_source_route(address);
  if (path.empty()) {
    return bad_address(address, address.empty() ? "is empty" : "has a broken source route");
  }
  if (path.size() > limits.total) return bad_address(address, "is too long");
  if (!is_clean_utf8(path)) return bad_address(address, "has control or invalid UTF-8 octets");
  const AddressParts parts = split_address(path);
  auto local = dequote_local(parts.local);
  if (!local) return bad_address(address, "the part before '@' is malformed; quote it");
  if (local->empty()) return bad_address(address, "has no user before '@'");
  if (parts.local.size() > limits.local) return bad_address(address, "the user part is too long");
  const std::string_view domain = strip_trailing_dot(parts.domain);
  if (parts.has_at) {
    if (domain.size() > limits.domain) return bad_address(address, "the domain is too long");
    if (!is_domain(domain) && !is_domain_literal(domain)) {
      return bad_address(address, "the part behind '@' is no domain");
    }
  }
  return Mailbox{std::move(*local), std::string(domain)};
}

std::string format_mailbox(const Mailbox& mailbox) {
  std::string out = quote_local(mailbox.local);
  if (!mailbox.domain.empty()) {
    out += '@';
    out += mailbox.domain;
  }
  return out;
}

bool is_safe_path(std::string_view path) {
  if (!is_clean_utf8(path)) return false;
  bool quoted = false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c == '\\' && ++i == path.size()) return false;
    } else if (c == ' ' || c == '<' || c == '>' || c == '\\') {
      return false;
    }
  }
  return !quoted;
}

bool domain_matches(std::string_view domain, std::string_view pattern) {
  if (pattern == "*") return true;
  domain = strip_trailing_dot(domain);
  if (domain.empty() || pattern.empty()) return false;
  if (pattern.front() == '.') {
    return domain.size() > pattern.size() && iends_with(domain, pattern);
  }
  return iequals(domain, pattern);
}

bool domain_matches_any(std::string_view domain, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return domain_matches(domain, pattern); });
}

}  // namespace bsmtp::mail
