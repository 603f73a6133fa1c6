// Key management for admins (bsmtpctl key ...) on one GnuPG home: make, list, export, inspect,
// import. Keys enter a verify home only with the fingerprint that was heard by telephone.
// Through GPGME, offline. Every refusal names key, file and home. A secret key never enters a
// verify home. Threads and processes: independent; who writes to a home waits for who uses it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::crypto {

struct SubkeyInfo {
  std::string fingerprint;
  std::string algorithm;  // "ed25519", "rsa3072"
  bool can_sign = false;
  bool usable = false;  // not revoked, expired, disabled or invalid
  TimePoint created{};
  std::optional<TimePoint> expires;
};

struct KeyInfo {
  std::string fingerprint;  // primary key, upper-case hex
  std::vector<std::string> user_ids;
  bool secret = false;
  bool revoked = false;
  bool expired = false;
  bool usable = false;              // can sign now, by the primary key or a subkey
  std::vector<SubkeyInfo> subkeys;  // the primary key first

  const SubkeyInfo& primary() const { return subkeys.front(); }
};

// "abcd EF01 ..." -> upper-case hex without blanks and colons; 4.7.5 unless 40 (or 64) digits.
Result<std::string> normalize_fingerprint(std::string_view text);
// In groups of four, a double blank in the middle: how it is read aloud.
std::string group_fingerprint(std::string_view fingerprint);

// Makes `home` (0700) with gpg.conf (digest-algo SHA256, no key look-ups) and gpg-agent.conf when
// they are not there; existing files stay. The parent directory must exist.
// gpg makes no lock files there (lock-never), so that reading it writes nothing: a full disk, an
// error of it or a dead process's lock, for which gpg would wait for ever, cannot hold a signature
// or a verification up. The functions here, Signer and Verifier have a lock of their own.
Status prepare_home(const std::string& home);

struct GenerateOptions {
  std::string home;
  std::string user_id;                // "BSMTP gateway <bsmtp@hub.domain.com>"
  std::string algorithm = "ed25519";  // rsa3072 for PMDF peers with an old gpg
  std::string passphrase_file;        // "": a key without passphrase
  std::chrono::seconds valid_for{0};  // 0: does not expire
};
// Prepares the home and makes a sign-only key; returns it.
Result<KeyInfo> generate_key(const GenerateOptions& options);

// All keys of the home, or only those with a secret part. Pattern "" = all; else a fingerprint.
Result<std::vector<KeyInfo>> list_keys(const std::string& home, bool secret_only,
                                       const std::string& pattern = "");
// The public key, armoured; 4.7.5 when the home has no such key.
Result<std::string> export_key(const std::string& home, const std::string& fingerprint);

// What a key file holds, without importing it. 4.7.5 when it holds no key.
Result<std::vector<KeyInfo>> inspect_key(const std::string& key_text);
// Imports the one key in `key_text` into `home` if it has the expected fingerprint and is public;
// 5.7.5 (nothing imported) otherwise.
Result<KeyInfo> import_key(const std::string& home, const std::string& key_text,
                           const std::string& expected_fingerprint);

}  // namespace bsmtp::crypto
