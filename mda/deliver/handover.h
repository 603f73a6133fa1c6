// What is added to, and removed from, an unpacked message when it is handed to the host MTA: one
// Received line on top (RFC 5321 3.7, 4.4), PMDF's annotation for peers that have it, and no
// Authentication-Results that claims to be ours (RFC 8601 5). Everything else passes unchanged.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/base/stream.h"
#include "common/spool/accepted.h"
#include "common/spool/item.h"

namespace bsmtp::mda {

// "Received: from PEER by HOST (with BSMTP parcel ID message 3/17) with ESMTP id ...; date" and,
// with meta.annotate, the X-Content-MIC-check line; CRLF. BSMTP is no registered protocol name
// (RFC 5321 4.4), so it stands in the comment, where our own loop counter looks for it.
std::string handover_lines(const spool::AcceptedMeta& meta, std::uint64_t index,
                           const std::string& host, TimePoint now);

// SHA-256 of the unstuffed text; and what is said when it is not `text_digest`.
Result<std::string> plain_digest(const spool::ItemReader& item);
Status text_damage(const spool::ItemReader& item, const std::string& text_digest);

// The stuffed text of `item` as it goes out, into `out`. Sets `damage` and fails with it, temporary
// 4.3.0, when the text cannot be read or is not the one that was accepted: its SHA-256 is not
// `text_digest`. That is known at its end only, so no end dot may follow.
Status write_handover(const spool::ItemReader& item, const std::string& lines,
                      const std::string& authserv_id, const std::string& text_digest, Sink& out,
                      Status& damage);

// No octet of the text has the high bit set: it needs no 8BITMIME. Reads it all.
Result<bool> is_seven_bit(const spool::ItemReader& item);

// Key of one recipient of one message in the ledger: SHA-256(sender NUL recipient NUL digest).
std::string recipient_key(const std::string& sender, const std::string& recipient,
                          const std::string& text_digest);

}  // namespace bsmtp::mda
