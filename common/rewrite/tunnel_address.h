// Tunnel addresses: `user@domain` <-> `user%domain@<peer>.bsmtp.invalid`, the private form in
// which a diverted recipient travels from milter through the MTA's queue to bsmtp-out.
// encode() diverts only what a strict grammar proves to survive a real MTA; all else is refused
// ("not divertible") and left to the static map. decode(encode(x)) == x in canonical quoting;
// case and UTF-8 are kept; the split is at the last `%`.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp::rewrite {

inline constexpr std::string_view kPseudoSuffix = ".bsmtp.invalid";
inline constexpr std::string_view kNeverLabel = "never";
inline constexpr std::size_t kMaxDiverted = 250;  // octets of the whole diverted address

struct TunnelAddress {
  std::string local;   // wire form: dot-atom, or quoted-string where needed
  std::string domain;  // case as received, no trailing dot
  std::string peer;    // lower-case peer name
  bool never = false;  // NOTIFY=NEVER
  std::string address() const { return local + "@" + domain; }
};

// The diverted form. Permanent 5.1.3 with the reason when it is not divertible:
//   local   dot-atom of RFC 5322 atext and UTF-8 (U+00A0 up), or a quoted-string whose content
//           is atext, dots, UTF-8 and inner blanks; not empty, not beginning with "-"
//   domain  labels of letters, digits, "-", "_" and UTF-8, each 1..63 octets; no literal; a
//           trailing dot is dropped; not below .bsmtp.invalid
//   peer    [a-z0-9-]{1,32}
//   whole   at most kMaxDiverted octets
Result<std::string> encode_tunnel(std::string_view local, std::string_view domain,
                                  std::string_view peer, bool never = false);

// Undoes encode_tunnel(). Takes the quoted form (LMTP, pipe flags=q) and the dequoted one
// (pipe without q), with or without angle brackets; the pseudo-domain in any case. Permanent
// 5.1.3 when it is no tunnel address or its parts do not fit the grammar above.
Result<TunnelAddress> decode_tunnel(std::string_view address);

// True for every domain at or below bsmtp.invalid (trailing dot ignored).
bool is_pseudo_domain(std::string_view domain);
// "remote1" of "remote1.bsmtp.invalid" and "never.remote1.bsmtp.invalid"; `never` may be null.
Result<std::string> peer_of_pseudo_domain(std::string_view domain, bool* never = nullptr);
std::string pseudo_domain(std::string_view peer, bool never = false);

}  // namespace bsmtp::rewrite
