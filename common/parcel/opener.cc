#include "common/parcel/opener.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/os/fd_stream.h"
#include "common/parcel/confined.h"
#include "common/parcel/payload.h"
#include "common/parcel/structure.h"
#include "common/parcel/text_guard.h"

namespace bsmtp::parcel {
namespace {

// More than deflate's 1032: a pinned peer cannot be told from a bomb by how well its mail
// compresses, and limits.inflate.max_bytes bounds what it can make us spend.
constexpr std::uint64_t kVerifiedRatio = 2000;

// What has been proved about the sender, and which octets it was proved for.
struct Proof {
  const PeerPolicy* policy = nullptr;
  crypto::Verdict verdict;
  bool is_signed = false;  // and the signature is good
  std::string digest;
  std::string mic_check;
  bool with_final_eol = false;  // a PMDF script signed the delimiter's CRLF too
};

class Opener {
 public:
  Opener(const OpenRequest& request, batch::Handler& handler)
      : request_(request),
        handler_(handler),
        now_((request.clock != nullptr ? *request.clock : system_clock()).now()) {}

  Result<OpenResult> run();

 private:
  Result<Opened> steps();
  // Notes the verdict; its permanent Status leads out of all steps.
  Status reject(Reject reason, std::string why, std::string peer = "");
  const PeerPolicy* policy(std::string_view peer) const;
  Result<Proof> prove_signed();
  Result<Proof> prove_unsigned();
  Result<Proof> judge(Proof proof);
  Result<Proof> try_form(TextGuard::Form form, bool with_final_eol);
  Result<Proof> try_pmdf_forms(Proof first);
  bool any_pmdf_peer() const;
  Result<std::string> signature_octets();
  Result<Opened> process(const Proof& proof);
  Result<PayloadFacts> read_inside(const Proof& proof, PayloadRequest& payload);
  Status check_manifests(const Proof& proof, const std::vector<std::string>& manifests);
  Status judge_manifest(const Proof& proof);
  Status future(std::string_view what, TimePoint when) const;
  Result<std::string> make_id(const Proof& proof);

  const OpenRequest& request_;
  batch::Handler& handler_;
  TimePoint now_;
  Structure structure_;
  std::optional<Manifest> manifest_;
  std::string verified_peer_;  // once a signature has named it
  std::string digest_;         // of the octets it was verified over
  bool addressed_ = false;     // the manifest is from the key's peer and to this host
  bool parser_died_ = false;
  std::optional<Rejected> rejected_;
};

Status Opener::reject(Reject reason, std::string why, std::string peer) {
  rejected_ = Rejected{reason,          std::move(why),
                       std::move(peer), manifest_ ? manifest_->id : "",
                       digest_,         addressed_ ? manifest_ : std::nullopt};
  return Status::permanent("5.7.0", rejected_->why);
}

const PeerPolicy* Opener::policy(std::string_view peer) const {
  for (const PeerPolicy& policy : request_.peers) {
    if (!peer.empty() && policy.peer == peer) {
      return &policy;
    }
  }
  return nullptr;
}

bool Opener::any_pmdf_peer() const {
  return std::any_of(request_.peers.begin(), request_.peers.end(),
                     [](const PeerPolicy& p) { return p.profile != Profile::kNative; });
}

Result<std::string> Opener::signature_octets() {
  const Extent& extent = structure_.signature;
  os::RangeSource range(*request_.ops, *request_.file, extent.begin, extent.end - extent.begin);
  StringSink octets(request_.limits.signature_bytes);
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(range, octets));
  return octets.take();
}

// Verifies one canonical form of the signed octets. Permanent for data that must not get to gpg.
Result<Proof> Opener::try_form(TextGuard::Form form, bool with_final_eol) {
  const std::uint64_t begin = structure_.part.begin;
  const std::uint64_t end = with_final_eol ? structure_.part.next : structure_.part.end;
  os::RangeSource range(*request_.ops, *request_.file, begin, end - begin);
  TextGuard guard(range, form);
  TRY_ASSIGN(const std::string signature, signature_octets());
  Proof proof;
  TRY_ASSIGN(proof.verdict, request_.verifier->verify(guard, signature));
  // A verdict reached without the data (unknown key) has not hashed all of them.
  if (proof.verdict.good() || proof.verdict.fault == crypto::SignatureFault::kBadSignature) {
    std::string rest(kBlockSize, '\0');
    for (std::size_t got = 1; got > 0;) {
      TRY_ASSIGN(got, guard.read(rest));
    }
  }
  proof.digest = guard.digest_hex();
  proof.is_signed = proof.verdict.good();
  proof.with_final_eol = with_final_eol;
  return proof;
}

// PMDF's scripts sign a file as it lies on their host: LF lines, and with the line end that the
// delimiter will need. Only a peer that is configured as PMDF may do so.
Result<Proof> Opener::try_pmdf_forms(Proof first) {
  constexpr std::array<std::pair<TextGuard::Form, bool>, 3> kForms = {
      {{TextGuard::Form::kLf, true},
       {TextGuard::Form::kCrlf, true},
       {TextGuard::Form::kLf, false}}};
  for (const auto& [form, with_final_eol] : kForms) {
    TRY_ASSIGN(Proof proof, try_form(form, with_final_eol));
    const PeerPolicy* signer = proof.is_signed ? policy(proof.verdict.peer) : nullptr;
    if (signer != nullptr && signer->profile != Profile::kNative) {
      return proof;
    }
  }
  return first;
}

Result<Proof> Opener::prove_signed() {
  if (request_.verifier == nullptr) {
    return Status::temporary("4.3.5", "a signed parcel came, but no key ring is configured");
  }
  auto proof = try_form(TextGuard::Form::kCrlf, false);
  if (proof.is_ok() && proof->verdict.fault == crypto::SignatureFault::kBadSignature &&
      any_pmdf_peer()) {
    proof = try_pmdf_forms(std::move(proof).value());
  }
  if (!proof.is_ok()) {
    return proof.status();
  }
  return judge(std::move(proof).value());
}

// From verdict to peer: the one place where a key becomes a name.
Result<Proof> Opener::judge(Proof proof) {
  const PeerPolicy* transport = policy(request_.transport_peer);
  if (!proof.is_signed) {
    if (transport == nullptr || transport->require_signature || !transport->annotate) {
      return reject(reject_for(proof.verdict.fault), proof.verdict.why);
    }
    proof.policy = transport;
    proof.mic_check = "Bad signature";
    return proof;
  }
  proof.policy = policy(proof.verdict.peer);
  if (proof.policy == nullptr ||
      (!request_.transport_peer.empty() && proof.policy->peer != request_.transport_peer)) {
    return reject(Reject::kUnknownKey,
                  "signed by peer " + proof.verdict.peer +
                      (proof.policy == nullptr ? ", from which nothing is expected"
                                               : ", but it came by the transport of peer " +
                                                     printable(request_.transport_peer, 60)));
  }
  verified_peer_ = proof.policy->peer;
  digest_ = proof.digest;
  if (proof.policy->annotate) {
    proof.mic_check =
        "Good signature from peer " + proof.policy->peer + ", key " + proof.verdict.fingerprint;
  }
  return proof;
}

Result<Proof> Opener::prove_unsigned() {
  Proof proof;
  proof.policy = policy(request_.transport_peer);
  if (proof.policy == nullptr || proof.policy->require_signature) {
    return reject(Reject::kUnsigned, "the parcel is not signed");
  }
  const Extent& part = structure_.part;
  os::RangeSource range(*request_.ops, *request_.file, part.body, part.end - part.body);
  digest::Sha256Sink digest(nullptr);
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(range, digest));
  proof.digest = digest.hex();
  if (proof.policy->annotate) {
    proof.mic_check = "No signature";
  }
  return proof;
}

Status Opener::future(std::string_view what, TimePoint when) const {
  if (when > now_ + request_.skew) {
    return Status::temporary("4.7.0", str_cat({what, " lies in the future: one of the two ",
                                               "machines' clocks is wrong"}));
  }
  return Status::ok();
}

Status Opener::judge_manifest(const Proof& proof) {
  const std::string& peer = proof.policy->peer;
  if (!iequals(manifest_->to, request_.host)) {
    return reject(Reject::kNotForMe, "the parcel is for " + manifest_->to + ", not for this host",
                  peer);
  }
  if (!iequals(manifest_->from, proof.policy->host)) {
    return reject(Reject::kWrongSender,
                  "the parcel says it is from " + manifest_->from +
                      ", but its key is that of peer " + peer + " at " + proof.policy->host,
                  peer);
  }
  addressed_ = true;
  if (manifest_->expires < now_) {
    return reject(Reject::kExpired, "the parcel has expired; its sender has told its senders so",
                  peer);
  }
  return future("the time parcel " + manifest_->id + " of peer " + peer + " was made",
                manifest_->created);
}

// Without a signature a manifest is only somebody's claim, and ignored.
Status Opener::check_manifests(const Proof& proof, const std::vector<std::string>& manifests) {
  if (!proof.is_signed) {
    return Status::ok();
  }
  const std::string& peer = proof.policy->peer;
  if (manifests.size() > 1) {
    return reject(Reject::kMalformed, "the parcel has two manifests", peer);
  }
  if (manifests.size() == 1) {
    auto manifest = parse_manifest(manifests.front());
    if (!manifest.is_ok()) {
      return reject(Reject::kMalformed, manifest.status().text(), peer);
    }
    manifest_ = std::move(manifest).value();
    return judge_manifest(proof);
  }
  if (proof.policy->profile == Profile::kNative) {
    return reject(Reject::kNoManifest, "the parcel has no manifest, which a native peer writes",
                  peer);
  }
  if (proof.verdict.signed_at < now_ - request_.replay_window) {
    return reject(Reject::kExpired, "the signature is older than replay-window", peer);
  }
  return future("the signature of peer " + peer, proof.verdict.signed_at);
}

Result<std::string> Opener::make_id(const Proof& proof) {
  std::string all = proof.digest;
  if (structure_.is_signed) {
    TRY_ASSIGN(const std::string signature, signature_octets());
    all += signature;
  }
  return digest::sha256_hex(all).substr(0, kIdLength);
}

Result<PayloadFacts> Opener::read_inside(const Proof& proof, PayloadRequest& payload) {
  const auto check = [&](const auto& manifests) { return check_manifests(proof, manifests); };
  if (request_.sandbox == Sandbox::kOff) {
    payload.check_header = [&](const auto& header) { return check(manifests_of(header)); };
    return read_payload(payload, handler_);
  }
  const auto read = read_payload_confined(payload, request_.sandbox, check, handler_);
  parser_died_ = read.died;
  return read.facts;
}

Result<Opened> Opener::process(const Proof& proof) {
  Extent part = structure_.part;
  if (proof.with_final_eol) {
    part.end = part.next;
  }
  Limits limits = request_.limits;
  auto& ratio = limits.inflate.max_ratio;
  ratio = proof.is_signed ? std::max(ratio, kVerifiedRatio) : ratio;
  PayloadRequest payload{*request_.ops,          *request_.file, part,
                         structure_.part_header, limits,         proof.policy->agreement};
  // A batch that neither a signature nor a checksum guards may have been cut between messages.
  payload.require_quit = !structure_.is_signed && !structure_.compressed;
  // Strangers' octets do not get to an inflater written in assembly.
  payload.engine = proof.is_signed ? codec::InflateEngine::kFast : codec::InflateEngine::kZlib;
  TRY_ASSIGN(const PayloadFacts facts, read_inside(proof, payload));
  Opened opened;
  opened.peer = proof.policy->peer;
  if (proof.is_signed) {
    opened.fingerprint = proof.verdict.fingerprint;
    opened.signed_at = proof.verdict.signed_at;
  }
  TRY_ASSIGN(opened.id, make_id(proof));
  opened.expires = opened.signed_at.value_or(now_) + request_.replay_window;
  if (manifest_) {
    opened.id = manifest_->id;
    opened.expires = manifest_->expires;
  }
  opened.manifest = manifest_;
  opened.digest = proof.digest;
  opened.mic_check = proof.mic_check;
  opened.messages = facts.messages;
  opened.recipients = facts.recipients;
  opened.plain_bytes = facts.plain_bytes;
  opened.compressed = structure_.compressed;
  return opened;
}

Result<Opened> Opener::steps() {
  TRY_ASSIGN(structure_, read_structure(*request_.ops, *request_.file, request_.limits));
  if (structure_.kind == Structure::Kind::kUnsupported) {
    return reject(Reject::kUnsupported, structure_.why);
  }
  if (structure_.kind != Structure::Kind::kParcel) {
    return reject(Reject::kNotAParcel, structure_.why);
  }
  TRY_ASSIGN(const Proof proof, structure_.is_signed ? prove_signed() : prove_unsigned());
  return process(proof);
}

Result<OpenResult> Opener::run() {
  auto opened = steps();
  if (opened.is_ok()) {
    return OpenResult(std::move(opened).value());
  }
  if (opened.status().is_permanent()) {
    if (!rejected_) {
      static_cast<void>(
          reject(payload_reject(opened.status()), opened.status().text(), verified_peer_));
    }
    rejected_->parser_died = parser_died_;
    return OpenResult(*rejected_);
  }
  return opened.status();
}

}  // namespace

Reject reject_for(crypto::SignatureFault fault) {
  switch (fault) {
    case crypto::SignatureFault::kUnknownKey:
    case crypto::SignatureFault::kOtherKey:
      return Reject::kUnknownKey;
    case crypto::SignatureFault::kExpired:
    case crypto::SignatureFault::kRevoked:
      return Reject::kExpiredKey;
    case crypto::SignatureFault::kWeakDigest:
      return Reject::kWeakDigest;
    default:
      return Reject::kBadSignature;
  }
}

std::string_view reject_name(Reject reason) {
  switch (reason) {
    case Reject::kNotAParcel:
      return "not-a-parcel";
    case Reject::kTooBig:
      return "too-big";
    case Reject::kMalformed:
      return "malformed";
    case Reject::kUnsupported:
      return "unsupported";
    case Reject::kUnsigned:
      return "unsigned";
    case Reject::kBadSignature:
      return "bad-signature";
    case Reject::kUnknownKey:
      return "unknown-key";
    case Reject::kExpiredKey:
      return "expired-key";
    case Reject::kWeakDigest:
      return "weak-digest";
    case Reject::kNotForMe:
      return "not-for-me";
    case Reject::kWrongSender:
      return "wrong-sender";
    case Reject::kNoManifest:
      return "no-manifest";
    case Reject::kExpired:
      return "expired";
  }
  return "unknown";
}

Result<OpenResult> open(const OpenRequest& request, batch::Handler& handler) {
  BSMTP_CHECK(request.ops != nullptr && request.file != nullptr);
  return Opener(request, handler).run();
}

}  // namespace bsmtp::parcel
