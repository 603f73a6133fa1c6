// Delivery status notifications (RFC 3461 6, 3464, 6522, 6533) as text: pure functions from what
// happened to a CRLF message. Kinds: failure, delay, relayed, unknown. The null reverse-path, RET,
// ENVID, ORCPT and NOTIFY rules stand here and nowhere else. May not: send or store anything
// (store.h), or name anything a stranger could use for harm: all texts of remote hosts pass
// printable(). Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/envelope.h"

namespace bsmtp::mda {

// kUnknown: handed on, and nobody could say what became of it. RFC 3464 2.3.3 knows no action for
// that; "failed" is the one that makes a sender look, the text says what it means, and the status
// is the caller's (4.4.0: no answer, the message itself was not refused).
enum class NoticeKind { kFailure, kDelay, kRelayed, kUnknown };
std::string_view notice_kind_name(NoticeKind kind);  // "failure", "delay", "relayed", "unknown"

// RFC 3461 4.1: may this notification be sent for a recipient with that NOTIFY value? An absent
// NOTIFY asks for failures only (delay: MAY; we send it, as MTAs do).
bool wants_notice(std::string_view notify, NoticeKind kind);

struct DsnRecipient {
  mail::Recipient recipient;
  std::string status;      // "5.1.1"
  std::string diagnostic;  // "550 5.1.1 no such user": what a server said; "" when none did
  std::string reason;      // one sentence for the human part
  std::string remote_mta;  // host name of who said so; "" = none
  // Of `diagnostic` (RFC 3464 2.3.6): "smtp" only for a reply of an SMTP server; "" leaves the
  // field out, and `diagnostic` stands in the human part alone.
  std::string diagnostic_type = "smtp";
};

// What a relayed report says of a recipient whom the host MTA took, `diagnostic` being its answer.
DsnRecipient relayed_recipient(const mail::Recipient& recipient, const std::string& diagnostic,
                               const std::string& remote_mta);

struct DsnRequest {
  NoticeKind kind = NoticeKind::kFailure;
  std::string reporting_mta;  // our host
  std::string postmaster;     // address in From:
  TimePoint arrival;          // when the message reached us
  TimePoint now;
  TimePoint will_retry_until;  // kDelay only
  mail::Envelope envelope;     // of the message: sender (not ""), ENVID, RET, SMTPUTF8
  std::vector<DsnRecipient> recipients;
  std::string original_header;  // header block of the message, unstuffed CRLF, without empty line
  std::string original_body;    // "" unless RET=FULL is honoured
  bool full = false;            // return header and body as message/rfc822
  std::string notice_id;        // for Message-ID and boundary
};

// Envelope of the notice: MAIL FROM:<>, one RCPT to the sender with NOTIFY=NEVER (RFC 3461 6.1).
mail::Envelope dsn_envelope(const DsnRequest& request);
// The whole message, CRLF, unstuffed. Permanent 5.1.7 for a null sender: nobody may be told.
Result<std::string> format_dsn(const DsnRequest& request);

// Fills original_header, original_body and full from the unstuffed text of the message: all of
// it when RET=FULL (or absent, for failures of small mail: RFC 3461 4.3 leaves it open; we
// return headers), it has at most `cap` octets and no line over 998, else the header alone, cut
// at 64 KiB at a line end. Temporary when the source fails.
Status take_original(Source& plain_text, std::uint64_t text_bytes, std::uint64_t cap,
                     DsnRequest& request);

// A plain letter to the postmaster, CRLF.
struct PostmasterLetter {
  std::string host;
  std::string postmaster;
  std::string subject;  // ASCII
  std::string body;     // lines, LF or CRLF
  TimePoint now;
  std::string notice_id;
};
mail::Envelope letter_envelope(const PostmasterLetter& letter);
std::string format_letter(const PostmasterLetter& letter);

}  // namespace bsmtp::mda
