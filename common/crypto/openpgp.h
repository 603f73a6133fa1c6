// OpenPGP signatures over mail parcels: Signer makes text-mode detached signatures, Verifier
// judges them against pinned keys. Through GPGME, offline, with a private GnuPG home; no text of
// gpg is ever parsed and nothing is fetched. Memory does not depend on the data's size.
// A *verdict* about a signature is a value; anything else that goes wrong (gpg missing, home
// unreadable, pinned key not loadable, own key expired) is a temporary Status: trouble of ours
// never turns a peer's mail away.
// Threads: one object, one thread at a time; several objects on one home are fine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"

namespace bsmtp::crypto {

// gpg-agent's sockets lie in the home and their names (108 octets at most in the kernel) add 21:
// with a longer home everything that needs a secret key fails with a bare "End of file".
inline constexpr std::size_t kMaxHomePath = 86;

// Temporary 4.3.5 naming the home when its path is too long, relative, or it is no directory
// that this process may read.
Status check_home(const std::string& home);

struct SignerOptions {
  std::string home;             // .../openpgp/sign
  std::string fingerprint;      // of the primary key, 40 hex digits
  std::string passphrase_file;  // "" when the key has none; first line of the file counts
};

class Signer {
 public:
  // Checks home and key (there, secret, may sign, neither expired nor revoked): 4.7.x if not.
  static Result<Signer> open(const SignerOptions& options);
  ~Signer();
  Signer(Signer&&) noexcept;
  Signer& operator=(Signer&&) noexcept;

  // Armoured detached text-mode signature (RFC 9580 5.2.1 type 0x01, LF line ends) over all
  // octets of `data`, which are CRLF lines of at most 998 octets. The digest is SHA-256 (the
  // home's gpg.conf says so, written by prepare_home()); any other is an error, because the
  // micalg parameter stands in front of the data. Errors: 4.7.x naming key, home and remedy.
  Result<std::string> sign(Source& data);
  // For Content-Type: "pgp-sha256".
  static std::string_view micalg() { return "pgp-sha256"; }
  const std::string& fingerprint() const;

 private:
  struct Impl;
  explicit Signer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct PeerKeys {
  std::string peer;
  std::vector<std::string> fingerprints;  // of primary keys, 40 hex digits
};

enum class SignatureFault {
  kNone,          // good, and by a pinned key
  kNoSignature,   // the signature part holds none, or one that carries its own text
  kBadSignature,  // the data are not what was signed
  kUnknownKey,    // not in the key ring
  kOtherKey,      // in the key ring, but pinned for no peer; or signatures of two peers
  kExpired,       // key or signature expired
  kRevoked,
  kWeakDigest,  // less than SHA-256
  kTooMany,     // more than 4 signatures
};
std::string_view fault_name(SignatureFault fault);  // "bad-signature", for logs and reports

struct Verdict {
  SignatureFault fault = SignatureFault::kNoSignature;
  std::string why;          // one sentence, printable; "" when good
  std::string peer;         // of the pinned key, when good
  std::string fingerprint;  // primary key when good, else what is known (key id) or ""
  TimePoint signed_at{};    // when good
  std::string hash;         // "SHA256"

  bool good() const { return fault == SignatureFault::kNone; }
};

class Verifier {
 public:
  // Loads every pin and expands it to the primary key and its usable signing subkeys, once. A pin
  // that cannot be loaded or that stands under two peers is 4.7.5 / 4.3.5. The home may be
  // read-only and hold public keys only; no agent is started.
  static Result<Verifier> open(const std::string& home, const std::vector<PeerKeys>& peers);
  ~Verifier();
  Verifier(Verifier&&) noexcept;
  Verifier& operator=(Verifier&&) noexcept;

  // Judges the detached signature over all octets of `data`. Good only if gpg knows at least one
  // signature, each of them is good, made by a pinned key of one and the same peer, and with
  // SHA-256 or better. Note that gpg, for text-mode signatures, hashes neither octets behind
  // column 19995 nor what distinguishes CR CR LF from CR LF: the caller refuses such data first
  // (parcel/splitter.h does).
  Result<Verdict> verify(Source& data, std::string_view signature);

 private:
  struct Impl;
  explicit Verifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bsmtp::crypto
