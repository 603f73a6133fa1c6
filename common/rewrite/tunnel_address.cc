#include "common/rewrite/tunnel_address.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::rewrite {
namespace {

constexpr std::string_view kPseudoRoot = "bsmtp.invalid";
constexpr std::size_t kMaxPeerName = 32;

Status refuse(std::string_view address, std::string_view why) {
  return Status::permanent("5.1.3", "\"" + printable(address) + "\": " + std::string(why));
}

// RFC 5322 3.2.3 atext, and octets of UTF-8 (checked as a whole elsewhere).
bool is_atext(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || u >= 0x80 ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// What a local part may mean to be divertible; see encode_tunnel() in the header.
const char* why_not_local(std::string_view value) {
  if (value.empty()) {
    return "the local part is empty";
  }
  if (value.front() == '-') {
    return "MTAs refuse a local part that begins with \"-\"";
  }
  if (value.front() == ' ' || value.back() == ' ') {
    return "the local part begins or ends with a blank";
  }
  const bool plain = std::all_of(value.begin(), value.end(),
                                 [](char c) { return is_atext(c) || c == '.' || c == ' '; });
  if (!plain) {
    return "the local part has a character that is not proven to survive an MTA";
  }
  return mail::is_clean_utf8(value) ? nullptr : "the local part is not valid UTF-8";
}

bool is_peer_name(std::string_view peer) {
  return !peer.empty() && peer.size() <= kMaxPeerName &&
         std::all_of(peer.begin(), peer.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

bool is_pseudo_domain(std::string_view domain) {
  domain = mail::strip_trailing_dot(domain);
  return iequals(domain, kPseudoRoot) || iends_with(domain, kPseudoSuffix);
}

std::string pseudo_domain(std::string_view peer, bool never) {
  return str_cat({never ? kNeverLabel : "", never ? "." : "", peer, kPseudoSuffix});
}

Result<std::string> peer_of_pseudo_domain(std::string_view domain, bool* never) {
  const std::string lower = to_lower(domain);
  std::string_view rest = lower;
  bool is_never = false;
  if (rest.ends_with(kPseudoSuffix)) {
    rest.remove_suffix(kPseudoSuffix.size());
    const std::size_t dot = rest.find('.');
    if (dot != std::string_view::npos && rest.substr(0, dot) == kNeverLabel) {
      is_never = true;
      rest.remove_prefix(dot + 1);
    }
    if (is_peer_name(rest)) {
      if (never != nullptr) {
        *never = is_never;
      }
      return std::string(rest);
    }
  }
  return refuse(domain, "no pseudo-domain <peer>.bsmtp.invalid");
}

Result<std::string> encode_tunnel(std::string_view local, std::string_view domain,
                                  std::string_view peer, bool never) {
  const std::string address = str_cat({local, "@", domain});
  const auto value = mail::dequote_local(local);
  if (!value) {
    return refuse(address, "the local part is neither a dot-atom nor a quoted string");
  }
  if (const char* why = why_not_local(*value); why != nullptr) {
    return refuse(address, why);
  }
  domain = mail::strip_trailing_dot(domain);
  if (!mail::is_domain(domain) || !mail::is_clean_utf8(domain)) {
    return refuse(address, domain.starts_with('[') ? "address literals are not diverted"
                                                   : "the domain is no host name");
  }
  if (is_pseudo_domain(domain)) {
    return refuse(address, "the address is diverted already");
  }
  if (!is_peer_name(peer)) {
    return refuse(address, "\"" + printable(peer) + "\" is no peer name");
  }
  std::string diverted =
      str_cat({mail::quote_local(str_cat({*value, "%", domain})), "@", pseudo_domain(peer, never)});
  if (diverted.size() > kMaxDiverted) {
    return refuse(address, "too long to divert: " + std::to_string(diverted.size()) + " of " +
                               std::to_string(kMaxDiverted) + " octets");
  }
  return diverted;
}

Result<TunnelAddress> decode_tunnel(std::string_view address) {
  std::string_view bare = address;
  if (bare.size() >= 2 && bare.front() == '<' && bare.back() == '>') {
    bare = bare.substr(1, bare.size() - 2);
  }
  if (bare.size() > kMaxDiverted) {
    return refuse(address, "longer than any diverted address");
  }
  // The pseudo-domain has no quotes, so the last `@` of all is the one before it.
  const std::size_t at = bare.rfind('@');
  if (at == std::string_view::npos) {
    return refuse(address, "there is no \"@\"");
  }
  TunnelAddress out;
  TRY_ASSIGN(out.peer, peer_of_pseudo_domain(bare.substr(at + 1), &out.never));
  std::string value(bare.substr(0, at));
  if (value.starts_with('"')) {
    auto plain = mail::dequote_local(value);
    if (!plain) {
      return refuse(address, "the quotes of the local part do not match");
    }
    value = std::move(*plain);
  }
  const std::size_t percent = value.rfind('%');
  if (percent == std::string::npos) {
    return refuse(address, "there is no \"%\" in the local part");
  }
  out.domain = value.substr(percent + 1);
  value.resize(percent);
  if (const char* why = why_not_local(value); why != nullptr) {
    return refuse(address, why);
  }
  if (!mail::is_domain(out.domain) || !mail::is_clean_utf8(out.domain) ||
      is_pseudo_domain(out.domain)) {
    return refuse(address, "what follows the last \"%\" is no host name");
  }
  out.local = mail::quote_local(value);
  return out;
}

}  // namespace bsmtp::rewrite
