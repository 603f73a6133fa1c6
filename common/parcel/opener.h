// Opens a parcel that a stranger sent. The order of checks is the security of the tunnel:
//   caps -> structure -> verify fully -> key to peer -> inflate under caps -> media type and
//   required-extensions -> manifest (to me, from the key's peer, times) -> the whole batch.
// Only the exact octets that were given to the verifier are processed, and nothing the handler
// was told counts before open() has returned Opened: a parcel truncated anywhere executes nothing.
// Three outcomes: Opened; Rejected (a verdict about the parcel: quarantine it, answer success);
// or a failed Status, always temporary (trouble of ours: the MTA keeps the parcel).
// Threads: independent calls with their own Verifier may run at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/bsmtp/parser.h"
#include "common/crypto/openpgp.h"
#include "common/os/file_ops.h"
#include "common/parcel/format.h"
#include "common/parcel/manifest.h"

namespace bsmtp::parcel {

struct PeerPolicy {
  std::string peer;  // as in the verifier's PeerKeys
  std::string host;  // the manifest's from= must be this
  // Native profile: a manifest is demanded. Others: the forms of PMDF's documents are understood
  // (binary signature over LF lines, final line end signed), a manifest is optional.
  Profile profile = Profile::kNative;
  batch::Agreement agreement;     // extensions beyond RFC 2442's three
  bool require_signature = true;  // false: unsigned is fine when transport_peer names this peer
  // With require_signature = false: a signature that does not verify is reported in mic_check
  // (as PMDF does) instead of refusing the parcel.
  bool annotate = false;
};

struct OpenRequest {
  os::FileOps* ops = nullptr;      // a second thread may call read_at() beside other calls
  const os::File* file = nullptr;  // the mail as received: CRLF lines, headers first
  std::string host;                // this gateway: the manifest's to= must be this
  std::vector<PeerPolicy> peers;
  crypto::Verifier* verifier = nullptr;
  std::string transport_peer;  // peer for which the MTA vouches (bsmtp-in --peer), or ""
  Limits limits;
  Sandbox sandbox = Sandbox::kOff;  // else open() forks: only while the process has one thread
  const Clock* clock = nullptr;     // null: the machine's
  std::chrono::seconds skew{3600};
  std::chrono::seconds replay_window{30 * 86400};  // age of a signature without manifest
};

struct Opened {
  std::string peer;
  std::string fingerprint;  // of the signing key's primary; "" when unsigned
  std::optional<TimePoint> signed_at;
  std::optional<Manifest> manifest;
  // The manifest's id; without one the first 44 hex digits of SHA-256 over the digest's hex digits
  // and the signature's octets (unsigned: over the digest's hex digits).
  std::string id;
  std::string digest;  // SHA-256 of the signed octets (unsigned: of the part's octets), hex
  // Until when a replay would be accepted, that is, how long the id must be remembered.
  TimePoint expires{};
  std::string mic_check;  // text for X-Content-MIC-check when the peer's `annotate` is on
  std::uint64_t messages = 0;
  std::uint64_t recipients = 0;
  std::uint64_t plain_bytes = 0;  // of the batch
  bool compressed = false;
};

enum class Reject {
  kNotAParcel,   // no parcel's media type on top: ordinary mail, spam; not worth quarantine
  kTooBig,       // a cap: parcel, header, inflated size, messages, ...
  kMalformed,    // MIME, base64, gzip or batch is broken
  kUnsupported,  // encrypted, S/MIME, a required extension we lack
  kUnsigned,     // and the peer's policy wants a signature
  kBadSignature,
  kUnknownKey,  // or a key pinned for nobody, or one of another peer than the transport's
  kExpiredKey,  // expired or revoked
  kWeakDigest,
  kNotForMe,     // manifest to=
  kWrongSender,  // manifest from= is not the key's peer
  kNoManifest,   // from a native peer
  kExpired,      // manifest x=, or a signature older than the replay window
};
// What a fault of the signature is called; of parcels and receipts alike.
Reject reject_for(crypto::SignatureFault fault);
std::string_view reject_name(Reject reason);  // "bad-signature", ... for logs and metadata

struct Rejected {
  Reject reason = Reject::kNotAParcel;
  std::string why;     // one printable sentence
  std::string peer;    // when the signature had been verified before the fault was found, else ""
  std::string id;      // as in Opened, when known and verified
  std::string digest;  // of the signed octets, when verified
  // When the signature is good and the manifest says that the parcel is from the key's peer and
  // for this host: then the peer may be told of the verdict.
  std::optional<Manifest> manifest;
  bool parser_died = false;  // kMalformed because it crashed our parser: somebody should look
};

using OpenResult = std::variant<Opened, Rejected>;

// Temporary failures include created= (or a signature time) in the future beyond `skew`: one of
// the two clocks is wrong and may be put right.
Result<OpenResult> open(const OpenRequest& request, batch::Handler& handler);

}  // namespace bsmtp::parcel
