// Two small records that bsmtp-in leaves for bsmtp-dispatch, both made durable before the mail
// they came from is answered:
//   inbound/receipts/<id>                        ReceiptRecord: a peer's receipt for our parcels
//   inbound/asked/<peer>.<parcel id>.<random>    AskedRecord: a peer's parcel that did not become
//                                                an accepted one and yet wants an answer
// Guarantee: what is written here was proved by a signature of a key pinned for `peer`, came from
// that peer's host and is meant for this one. Nothing else is proved: whether a parcel of that id
// and digest was ever sent to the peer is for the dispatcher to judge.
// Text form: spool/fields.h. Threads: values, pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::spool {

inline constexpr std::size_t kMaxReceiptParcels = 200;
inline constexpr std::size_t kMaxAnswerText = 500;  // octets

// What became of a parcel, in the words of the receiver.
enum class ParcelFate {
  kAccepted,  // durably there; each message is delivered or its sender told
  kRejected,  // verified, and refused for good: none of it was or will be delivered
  kExpired,   // came too late: none of it was or will be delivered
};
std::string_view fate_name(ParcelFate fate);  // "accepted", "rejected", "expired"
std::optional<ParcelFate> fate_from(std::string_view name);

struct ParcelAnswer {
  std::string parcel_id;  // 44 lower-case hex digits
  std::string digest;     // SHA-256 of the signed octets, 64 lower-case hex digits
  ParcelFate fate = ParcelFate::kAccepted;
  std::string code = "2.0.0";  // enhanced status code: 2.y.z when accepted, else 5.y.z
  std::string text;            // why, one printable line; may be ""
};

// `words` as a text that an answer may have: other octets than printable ASCII become '?', blanks
// are one each, and it is cut at kMaxAnswerText.
std::string answer_text(std::string_view words);
// What is wrong with it, one phrase; "" when all fields are as described above.
std::string_view answer_fault(const ParcelAnswer& answer);

struct ReceiptRecord {
  std::string peer;                   // configured name
  std::string fingerprint;            // of the primary key that signed
  std::string from;                   // the peer's host, as signed
  std::string to;                     // this host, as signed
  TimePoint time;                     // when the peer made the receipt, as signed
  TimePoint received;                 // when bsmtp-in took it
  std::string queue_id;               // of the host MTA, for the log; may be ""
  std::vector<ParcelAnswer> parcels;  // 1 to kMaxReceiptParcels, each id once
};

struct AskedRecord {
  std::string peer;      // configured name
  ParcelAnswer answer;   // kAccepted: accepted/ or deferred/ has the parcel
  bool at_once = false;  // the manifest says rr=2
  TimePoint expires;     // of the parcel, as signed
  TimePoint received;
  std::string queue_id;  // of the host MTA, for the log; may be ""
};

// Each refuses what its parser would refuse: temporary 4.3.5, a bug of the writer.
Result<std::string> format_receipt_record(const ReceiptRecord& record);
Result<std::string> format_asked_record(const AskedRecord& record);
// `file` names it in errors. Temporary 4.3.0 for anything malformed.
Result<ReceiptRecord> parse_receipt_record(std::string_view text, const std::string& file);
Result<AskedRecord> parse_asked_record(std::string_view text, const std::string& file);

// "<peer>.<parcel id>.<random>"; nullopt for a name of another form.
struct AskedName {
  std::string peer;
  std::string parcel_id;
};
std::string asked_record_name(std::string_view peer, std::string_view parcel_id,
                              std::string_view random);
std::optional<AskedName> parse_asked_record_name(std::string_view name);

}  // namespace bsmtp::spool
