// The file `meta` of inbound/accepted/<peer>.<id>/ and inbound/deferred/<peer>.<id>/: what
// bsmtp-in proved about a parcel and each of its messages, and what bsmtp-dispatch needs to
// deliver it. bsmtp-in writes it once, before the rename that accepts; nobody changes it after.
// Text form: "key: value" lines, LF, first line "version: 2"; unknown keys are refused, so an
// older program never delivers by half of what a newer one wrote. The messages lie beside it in
// one file, kAcceptedMessagesName: items (MAIL, RCPT.., DATA, stuffed CRLF text, ".") one right
// after another in the order of meta, which tells the length of each.
// May not: hold anything not covered by the verification. Threads: values, pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::spool {

inline constexpr std::string_view kAcceptedMetaName = "meta";
inline constexpr std::string_view kAcceptedMessagesName = "messages";

// A recipient (or a whole message) that this gateway may not deliver for this peer: the
// dispatcher writes the DSN instead of delivering.
struct AcceptedRefusal {
  std::uint64_t recipient = 0;  // ordinal from 1 in the order of the RCPT lines; 0 = all of them
  std::string code;             // permanent enhanced status code, "5.7.1"
  std::string text;             // one line for the DSN, printable
};

struct AcceptedMessage {
  std::string text_digest;       // SHA-256 of the unstuffed CRLF text, 64 lower-case hex digits
  std::uint64_t text_bytes = 0;  // of that text
  std::uint64_t item_bytes = 0;  // of the whole item in the file
  std::vector<AcceptedRefusal> refused;
  // SHA-256 of the item's octets before its text (MAIL, RCPT.., DATA); "" in what builds accepted
  // that did not write it.
  std::string head_digest{};
};

struct AcceptedMeta {
  std::string peer;         // configured name
  std::string parcel_id;    // 44 hex digits: the manifest's id, or made from the digest (PMDF)
  std::string digest;       // SHA-256 of the signed octets, 64 lower-case hex digits
  std::string fingerprint;  // of the primary key that signed; "" with require=transport
  std::optional<TimePoint> created;  // manifest; absent for parcels without one
  std::optional<TimePoint> expires;
  TimePoint accepted;     // when bsmtp-in accepted it: retry and expiry of delivery run from here
  std::string peer_host;  // host named in our Received line: the configured host of the peer
  std::string queue_id;   // of the host MTA, for the log; may be ""
  unsigned receipt = 0;   // the peer wants one: 1 in time, 2 at once
  std::string annotate;   // value of X-Content-MIC-check to put on each message; "" = none
  std::vector<AcceptedMessage> messages;  // in batch order; message i is messages[i - 1]
};

// How message `index` is called in meta and towards an admin: "000001" for 1; at most six digits
// (10^6 - 1 messages).
std::string accepted_message_name(std::uint64_t index);
// Directory name "<peer>.<parcel id>" and back; nullopt for anything else.
struct AcceptedName {
  std::string peer;
  std::string parcel_id;
};
std::string accepted_directory_name(std::string_view peer, std::string_view parcel_id);
std::optional<AcceptedName> parse_accepted_directory_name(std::string_view name);

// The whole text of `meta`. A value with a control character is refused (temporary 4.3.5: a
// bug of the writer must not cost mail).
Result<std::string> format_accepted_meta(const AcceptedMeta& meta);
// `file` names it in errors. Temporary 4.3.0 for anything malformed, 4.3.5 for what another release
// wrote (version, unknown key): the mail stays.
Result<AcceptedMeta> parse_accepted_meta(std::string_view text, const std::string& file);

}  // namespace bsmtp::spool
