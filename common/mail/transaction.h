// The head of one BSMTP transaction, i.e. of a spool item: "MAIL FROM:.." "RCPT TO:.."+ "DATA",
// each ended by CRLF; the dot-stuffed text and ". CRLF" follow. Written by the agents, read again
// by batch writer, delivery and admin tool. Threads: pure functions, one reader per source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/envelope.h"
#include "common/mail/line.h"

namespace bsmtp::mail {

// The whole head; fails like format_mail and format_rcpt, and with 5.5.1 without a recipient.
Result<std::string> format_transaction_head(const Envelope& envelope);

struct TransactionHead {
  Envelope envelope;
  std::uint64_t text_offset = 0;  // octets before the text
  std::string buffered;           // text octets already read from the source
};
// Strict: CRLF, one MAIL, 1 to max_recipients RCPT, DATA; anything else is permanent 5.6.0 (a
// damaged item: the caller sets it aside). The source then stands behind `buffered`.
Result<TransactionHead> read_transaction_head(Source& source, std::size_t max_recipients = 10000);

// Copies the rest of a transaction (its stuffed text) to `out` without the end dot and proves
// that the source ends exactly with CRLF "." CRLF: 5.6.0 otherwise, 5.6.1 for bare CR, LF, NUL.
// On failure octets may have been written already.
Result<TextFacts> copy_transaction_text(TransactionHead& head, Source& source, Sink& out);

}  // namespace bsmtp::mail
