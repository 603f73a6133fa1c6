// Receipts: what the receiver of parcels tells their sender, a mail of its own in the form of a
// delivery status notification (RFC 3464), signed as a parcel is:
//   multipart/signed( multipart/report( text/plain, message/delivery-status ), signature )
// with the field X-BSMTP-Receipt for the receipt and X-BSMTP-Parcel for each parcel. Grammar and
// meaning: docs/parcel-format.md. A receipt counts only under a good signature of a key pinned for
// the peer whose host stands in from=, and only for a parcel with the digest it names.
// Threads: pure functions, but each Signer belongs to one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/crypto/openpgp.h"
#include "common/parcel/opener.h"
#include "common/spool/receipt_record.h"

namespace bsmtp::parcel {

inline constexpr std::string_view kReportType = "multipart/report";
inline constexpr std::string_view kReceiptField = "X-BSMTP-Receipt";
inline constexpr std::string_view kReceiptParcelField = "X-BSMTP-Parcel";

struct ReceiptFacts {
  std::string from;                          // gateway host of who took the parcels, lower case
  std::string to;                            // gateway host of who sent them, lower case
  TimePoint time{};                          // when it was made
  std::vector<spool::ParcelAnswer> answers;  // 1 to spool::kMaxReceiptParcels, each id once
};

// The entity that is signed, header and body, CRLF, 7-bit, without trailing blanks. `address`: the
// parcel address the parcels came to, whose domain is facts.from. `boundary` is a fresh one.
// Temporary 4.3.5 for facts that parse_receipt() would refuse.
Result<std::string> format_receipt(const ReceiptFacts& facts, std::string_view address,
                                   std::string_view boundary);
// Exactly the octets a signature was verified over. nullopt: a report, but no receipt. Permanent
// 5.6.0 (5.3.4 over a cap) naming the field for anything malformed.
Result<std::optional<ReceiptFacts>> parse_receipt(std::string_view octets);

struct ReceiptMail {
  ReceiptFacts facts;
  std::string from;        // bsmtp@athena.domain.co.uk: our parcel address
  std::string to;          // bsmtp@hub.domain.com
  std::string message_id;  // "<...>"
  crypto::Signer* signer = nullptr;
};
// The whole message, CRLF: outer header with Auto-Submitted: auto-replied (RFC 3834 5), signed
// entity. Temporary only.
Result<std::string> build_receipt(const ReceiptMail& mail);

struct OpenedReceipt {
  std::string peer;
  std::string fingerprint;  // of the signing key's primary
  std::string digest;       // SHA-256 of the signed octets, hex
  ReceiptFacts facts;
};
using ReceiptResult = std::variant<OpenedReceipt, Rejected>;

// Opens a mail whose structure (structure.h) is that of a receipt: verifies, then parses the very
// octets that were verified, then checks that from= is the host of the key's peer and to= this one.
// A failed Status is temporary: trouble of ours.
Result<ReceiptResult> open_receipt(const OpenRequest& request);

}  // namespace bsmtp::parcel
