// What the topmost Received field says about the SMTP session in which a host took a message, as
// Postfix and sendmail write it (RFC 5321 4.4 leaves TLS to comments).
// Guarantee: a result comes only from a field that names `host` behind its last "by" outside
// comments, and from comments that these MTAs write: a client's HELO name, its name in the DNS and
// its certificate's CN stand in the same field, and none of them can make a result better than it
// is. Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace bsmtp::mail {

struct ReceivedTls {
  std::string version;  // "TLSv1.3", "none", "yes" (the MTA says no more) or "unknown"
  // sendmail's words, also for Postfix: OK, FAIL (shown, not verified), NO (none shown), NOT (none
  // asked for), ...; "" without TLS or when the field does not tell.
  std::string verify;
};

// `value`: unfolded, without the field's name. "unknown" unless `host` wrote it.
ReceivedTls received_tls(std::string_view value, std::string_view host);

}  // namespace bsmtp::mail
