// Verifier of openpgp.h.
#include <algorithm>
#include <map>
#include <utility>

#include "common/base/text.h"
#include "common/crypto/gpgme_handles.h"
#include "common/crypto/keyring.h"
#include "common/crypto/openpgp.h"
#include "common/crypto/signature_packets.h"

namespace bsmtp::crypto {
namespace {

constexpr std::size_t kMaxSignatures = 4;
constexpr std::size_t kKeyIdDigits = 16;

struct Pin {
  std::string peer;
  std::string primary;
};

Verdict fault(SignatureFault kind, std::string why) {
  Verdict verdict;
  verdict.fault = kind;
  verdict.why = std::move(why);
  return verdict;
}

// "key 0123..": what gpg knows of the signer, a fingerprint or only a key id.
std::string signer_name(const _gpgme_signature& signature) {
  return "key " + printable(or_empty(signature.fpr), 64);
}

}  // namespace

std::string_view fault_name(SignatureFault fault) {
  switch (fault) {
    case SignatureFault::kNone:
      return "good";
    case SignatureFault::kNoSignature:
      return "no-signature";
    case SignatureFault::kBadSignature:
      return "bad-signature";
    case SignatureFault::kUnknownKey:
      return "unknown-key";
    case SignatureFault::kOtherKey:
      return "other-key";
    case SignatureFault::kExpired:
      return "expired-key";
    case SignatureFault::kRevoked:
      return "revoked-key";
    case SignatureFault::kWeakDigest:
      return "weak-digest";
    case SignatureFault::kTooMany:
      return "too-many-signatures";
  }
  return "unknown";
}

struct Verifier::Impl {
  Status load(const PeerKeys& keys, const std::string& fingerprint);
  Status add(const PeerKeys& keys, const std::string& primary, const std::string& fingerprint);
  // Ok when all pins are still there: then "unknown key" is the truth and not a broken key ring.
  Status check_pins();
  bool is_pinned(std::string_view name) const;  // a fingerprint, or a key id: the end of one
  Result<Verdict> judge(const _gpgme_op_verify_result& result);
  Result<Verdict> judge_one(const _gpgme_signature& signature);
  Result<Verdict> judge_status(const _gpgme_signature& signature);
  Result<Verdict> operation_failed(gpgme_error_t error);

  std::string home;
  Context context;
  std::vector<Pin> pins;             // as configured
  std::map<std::string, Pin> known;  // by fingerprint of primary or signing subkey
};

Verifier::Verifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Verifier::~Verifier() = default;
Verifier::Verifier(Verifier&&) noexcept = default;
Verifier& Verifier::operator=(Verifier&&) noexcept = default;

Result<Verifier> Verifier::open(const std::string& home, const std::vector<PeerKeys>& peers) {
  TRY(check_home(home));
  auto impl = std::make_unique<Impl>();
  impl->home = home;
  TRY_ASSIGN(const UniqueFd lock, lock_home(home, HomeUse::kRead));
  TRY_ASSIGN(impl->context, new_context(home));
  for (const PeerKeys& keys : peers) {
    for (const std::string& fingerprint : keys.fingerprints) {
      TRY(impl->load(keys, fingerprint));
    }
  }
  return Verifier(std::move(impl));
}

Status Verifier::Impl::add(const PeerKeys& keys, const std::string& primary,
                           const std::string& fingerprint) {
  const auto [place, is_new] = known.emplace(fingerprint, Pin{keys.peer, primary});
  if (!is_new && place->second.peer != keys.peer) {
    return Status::temporary("4.3.5", "openpgp-key " + fingerprint + " stands under two peers, " +
                                          place->second.peer + " and " + keys.peer +
                                          ": a signature could not tell them apart");
  }
  return Status::ok();
}

Status Verifier::Impl::load(const PeerKeys& keys, const std::string& fingerprint) {
  const std::string name = "openpgp-key of peer " + keys.peer;
  auto normal = normalize_fingerprint(fingerprint);
  if (!normal.is_ok()) {
    return normal.status().with_context(name);
  }
  TRY_ASSIGN(const Key key, find_key(context.get(), *normal, false));
  if (key == nullptr) {
    return Status::temporary("4.7.5", name + ": key " + *normal + " is not in " + home +
                                          " or cannot be read; bsmtpctl key import adds it");
  }
  const std::string primary = or_empty(key->subkeys != nullptr ? key->subkeys->fpr : nullptr);
  if (primary != *normal) {
    return Status::temporary(
        "4.3.5", name + ": " + *normal + " is a subkey; give the primary key " + primary);
  }
  pins.push_back({keys.peer, primary});
  TRY(add(keys, primary, primary));
  for (const _gpgme_subkey* subkey = key->subkeys; subkey != nullptr; subkey = subkey->next) {
    if (subkey->can_sign && usable(*subkey) && subkey->fpr != nullptr) {
      TRY(add(keys, primary, subkey->fpr));
    }
  }
  return Status::ok();
}

Status Verifier::Impl::check_pins() {
  TRY(check_home(home));
  for (const Pin& pin : pins) {
    TRY_ASSIGN(const Key key, find_key(context.get(), pin.primary, false));
    if (key == nullptr) {
      return Status::temporary("4.7.5", "key " + pin.primary + " of peer " + pin.peer +
                                            " cannot be read from " + home + " any more");
    }
  }
  return Status::ok();
}

bool Verifier::Impl::is_pinned(std::string_view name) const {
  return name.size() >= kKeyIdDigits && std::any_of(known.begin(), known.end(), [&](const auto& k) {
           return k.first.ends_with(name);
         });
}

Result<Verdict> Verifier::verify(Source& data, std::string_view signature) {
  auto packets = read_signature(signature);
  if (!packets.is_ok()) {
    return fault(SignatureFault::kNoSignature, packets.status().text());
  }
  if (packets->heads.size() > kMaxSignatures) {
    return fault(SignatureFault::kTooMany, "more than 4 signatures over one parcel");
  }
  for (const SignatureHead& head : packets->heads) {
    if (!is_strong_hash(head.hash)) {
      return fault(SignatureFault::kWeakDigest, "the signature's digest (OpenPGP number " +
                                                    std::to_string(head.hash) +
                                                    ") is weaker than SHA-256");
    }
    if (head.type > 1) {
      return fault(SignatureFault::kNoSignature, "the signature is not one over a document");
    }
  }
  TRY_ASSIGN(const UniqueFd lock, lock_home(impl_->home, HomeUse::kRead));
  TRY_ASSIGN(const Data packet_data, memory_data(packets->binary));
  TRY_ASSIGN(const auto source, SourceData::make(data));
  const gpgme_error_t error =
      gpgme_op_verify(impl_->context.get(), packet_data.get(), source->get(), nullptr);
  if (!source->failure().is_ok()) {
    return source->failure();
  }
  if (error != 0) {
    return impl_->operation_failed(error);
  }
  const gpgme_verify_result_t result = gpgme_op_verify_result(impl_->context.get());
  if (result == nullptr || result->signatures == nullptr) {
    // It says so when it finds none (operation_failed): a silent one was killed, or had no files.
    return Status::temporary("4.7.0", "gpg ended without a word about the signature");
  }
  return impl_->judge(*result);
}

Result<Verdict> Verifier::Impl::operation_failed(gpgme_error_t error) {
  const gpgme_err_code_t code = gpgme_err_code(error);
  if (code == GPG_ERR_NO_DATA || code == GPG_ERR_BAD_DATA || code == GPG_ERR_INV_PACKET) {
    return fault(SignatureFault::kNoSignature,
                 std::string("gpg cannot read the signature: ") + gpgme_strerror(error));
  }
  return gpgme_trouble("verifying a signature with the keys in " + home, error, "");
}

// Good only if every signature is, and all are of one peer: a second signer whom nobody pinned is
// a reason to doubt, not to be content with the first.
Result<Verdict> Verifier::Impl::judge(const _gpgme_op_verify_result& result) {
  Verdict first;
  for (const _gpgme_signature* s = result.signatures; s != nullptr; s = s->next) {
    TRY_ASSIGN(Verdict verdict, judge_one(*s));
    if (!verdict.good()) {
      return verdict;
    }
    if (s == result.signatures) {
      first = std::move(verdict);
    } else if (verdict.peer != first.peer) {
      return fault(SignatureFault::kOtherKey, "signatures of two peers, " + first.peer + " and " +
                                                  verdict.peer + ", on one parcel");
    }
  }
  return first;
}

Result<Verdict> Verifier::Impl::judge_one(const _gpgme_signature& signature) {
  if (gpgme_err_code(signature.status) != GPG_ERR_NO_ERROR) {
    TRY_ASSIGN(Verdict verdict, judge_status(signature));
    verdict.fingerprint = printable(or_empty(signature.fpr), 64);
    return verdict;
  }
  if (signature.hash_algo == GPGME_MD_NONE) {  // after GOODSIG comes VALIDSIG, which names it
    return Status::temporary("4.7.0", "gpg ended in the middle of a word about the signature");
  }
  Verdict verdict;
  verdict.hash = or_empty(gpgme_hash_algo_name(signature.hash_algo));
  verdict.fingerprint = printable(or_empty(signature.fpr), 64);
  verdict.signed_at = TimePoint(std::chrono::seconds(signature.timestamp));
  if (signature.hash_algo != GPGME_MD_SHA256 && signature.hash_algo != GPGME_MD_SHA384 &&
      signature.hash_algo != GPGME_MD_SHA512) {
    verdict.fault = SignatureFault::kWeakDigest;
    verdict.why = "the signature's digest " + verdict.hash + " is weaker than SHA-256";
    return verdict;
  }
  const auto pin = known.find(or_empty(signature.fpr));
  if (pin == known.end() || signature.wrong_key_usage) {
    verdict.fault = SignatureFault::kOtherKey;
    verdict.why = signer_name(signature) + " is in the key ring, but not configured for any peer";
    return verdict;
  }
  verdict.fault = SignatureFault::kNone;
  verdict.peer = pin->second.peer;
  verdict.fingerprint = pin->second.primary;
  return verdict;
}

Result<Verdict> Verifier::Impl::judge_status(const _gpgme_signature& signature) {
  const std::string name = signer_name(signature);
  switch (gpgme_err_code(signature.status)) {
    case GPG_ERR_BAD_SIGNATURE:
      return fault(SignatureFault::kBadSignature, "the parcel is not what was signed with " + name);
    case GPG_ERR_KEY_EXPIRED:
      return fault(SignatureFault::kExpired, name + " has expired");
    case GPG_ERR_SIG_EXPIRED:
      return fault(SignatureFault::kExpired, "the signature with " + name + " has expired");
    case GPG_ERR_CERT_REVOKED:
      return fault(SignatureFault::kRevoked, name + " is revoked");
    case GPG_ERR_DIGEST_ALGO:
      return fault(SignatureFault::kWeakDigest, "gpg refuses the signature's digest");
    case GPG_ERR_ENOMEM:
    case GPG_ERR_EIO:
    case GPG_ERR_ENOSPC:
      return gpgme_trouble("verifying a signature", signature.status, "");
    case GPG_ERR_NO_PUBKEY:
      // Also what gpg says when it cannot read its key ring. That may have been for a moment only:
      // a key that was there a moment ago is not unknown.
      if (is_pinned(or_empty(signature.fpr))) {
        return Status::temporary("4.7.5", "gpg did not find the pinned " + name + " in " + home +
                                              " just now; see whether it can be read");
      }
      TRY(check_pins());
      return fault(SignatureFault::kUnknownKey, name + " is not in the key ring");
    default:
      // A signature gpg makes no sense of: unknown algorithm or version, older than its key.
      TRY(check_pins());
      return fault(SignatureFault::kBadSignature, "gpg rejects the signature with " + name + ": " +
                                                      gpgme_strerror(signature.status));
  }
}

}  // namespace bsmtp::crypto
