#include "common/crypto/keyring.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/crypto/gpgme_handles.h"
#include "common/crypto/openpgp.h"
#include "common/os/file_ops.h"

namespace bsmtp::crypto {
namespace {

constexpr std::size_t kMaxKeyText = 1U << 20U;
constexpr std::string_view kGpgConf =
    "# Written by bsmtp-tunnel. The digest must be known before a parcel is written (micalg).\n"
    "digest-algo SHA256\n"
    "cert-digest-algo SHA256\n"
    "trust-model always\n"
    "no-auto-key-locate\n"
    "no-auto-key-retrieve\n"
    "# No lock files here. The programs of bsmtp-tunnel have a lock of their own; gpg by hand has "
    "none.\n"
    "lock-never\n";
// gpg repeats the passphrase derivation for every signature; the file that holds the passphrase
// is what protects it, not the number of rounds (codec figures in docs/performance.md).
constexpr std::string_view kAgentConf =
    "# Written by bsmtp-tunnel.\n"
    "s2k-count 65536\n"
    "allow-loopback-pinentry\n";

TimePoint from_seconds(long seconds) {
  return TimePoint(std::chrono::seconds(seconds));
}

KeyInfo describe(const _gpgme_key& key) {
  KeyInfo info;
  info.fingerprint = or_empty(key.subkeys != nullptr ? key.subkeys->fpr : nullptr);
  info.secret = key.secret;
  info.revoked = key.revoked;
  info.expired = key.expired;
  for (const _gpgme_user_id* uid = key.uids; uid != nullptr; uid = uid->next) {
    info.user_ids.push_back(printable(or_empty(uid->uid), 256));
  }
  for (const _gpgme_subkey* subkey = key.subkeys; subkey != nullptr; subkey = subkey->next) {
    SubkeyInfo sub;
    sub.fingerprint = or_empty(subkey->fpr);
    if (char* algorithm = gpgme_pubkey_algo_string(const_cast<gpgme_subkey_t>(subkey));  // NOLINT
        algorithm != nullptr) {
      sub.algorithm = algorithm;
      gpgme_free(algorithm);
    }
    sub.can_sign = subkey->can_sign;
    sub.usable = usable(*subkey);
    sub.created = from_seconds(subkey->timestamp);
    if (subkey->expires != 0) {
      sub.expires = from_seconds(subkey->expires);
    }
    info.secret = info.secret || subkey->secret;
    info.usable = info.usable || (sub.can_sign && sub.usable && !key.revoked && !key.expired);
    info.subkeys.push_back(std::move(sub));
  }
  return info;
}

// The keys of a listing that has been started.
Result<std::vector<KeyInfo>> collect(gpgme_ctx_t context, const std::string& where) {
  std::vector<KeyInfo> keys;
  for (;;) {
    gpgme_key_t raw = nullptr;
    const gpgme_error_t error = gpgme_op_keylist_next(context, &raw);
    if (gpgme_err_code(error) == GPG_ERR_EOF) {
      break;
    }
    if (error != 0) {
      return gpgme_trouble("listing keys in " + where, error, "");
    }
    const Key key(raw);
    if (key->subkeys != nullptr) {
      keys.push_back(describe(*key));
    }
  }
  return keys;
}

Status write_if_absent(const std::string& path, std::string_view text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return errno == EEXIST ? Status::ok() : Status::from_errno(path, errno);
  }
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Status::from_errno(path, errno);
  }
  return fd.close_checked(path);
}

// An empty home: gpg would make ~/.gnupg for whoever calls it, only to look at a file.
class EmptyHome {
 public:
  static Result<EmptyHome> make() {
    std::string path = "/tmp/bsmtp-key.XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return Status::from_errno("making a directory " + path, errno);
    }
    return EmptyHome(std::move(path));
  }
  explicit EmptyHome(std::string path) : path_(std::move(path)) {}
  EmptyHome(EmptyHome&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  EmptyHome(const EmptyHome&) = delete;
  EmptyHome& operator=(const EmptyHome&) = delete;
  EmptyHome& operator=(EmptyHome&&) = delete;
  ~EmptyHome() {
    if (!path_.empty()) {
      // Nothing depends on its removal; /tmp is swept by the system.
      static_cast<void>(os::remove_tree(os::real_file_ops(), path_));
    }
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Status check_generate(const GenerateOptions& options) {
  if (options.algorithm != "ed25519" && options.algorithm != "rsa3072" &&
      options.algorithm != "rsa4096") {
    return Status::temporary("4.7.5", "key algorithm \"" + printable(options.algorithm, 40) +
                                          "\": use ed25519, rsa3072 or rsa4096");
  }
  if (options.user_id.empty() || options.user_id != printable(options.user_id)) {
    return Status::temporary("4.7.5", "a key needs a user id like \"BSMTP gateway <bsmtp@host>\"");
  }
  return Status::ok();
}

}  // namespace

Result<std::string> normalize_fingerprint(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c == ' ' || c == ':' || c == '\t') {
      continue;
    }
    const char upper = ascii_upper(c);
    if (!((upper >= '0' && upper <= '9') || (upper >= 'A' && upper <= 'F'))) {
      digits.clear();
      break;
    }
    digits += upper;
  }
  if (digits.size() != 40 && digits.size() != 64) {
    return Status::temporary(
        "4.7.5", "\"" + printable(text, 100) + "\" is no OpenPGP fingerprint (40 hex digits)");
  }
  return digits;
}

std::string group_fingerprint(std::string_view fingerprint) {
  std::string out;
  for (std::size_t i = 0; i < fingerprint.size(); i += 4) {
    if (i > 0) {
      out += i == fingerprint.size() / 2 ? "  " : " ";
    }
    out += fingerprint.substr(i, 4);
  }
  return out;
}

Status prepare_home(const std::string& home) {
  if (::mkdir(home.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::from_errno("making GnuPG home " + home, errno);
  }
  TRY(check_home(home));
  TRY(write_if_absent(home + "/gpg.conf", kGpgConf));
  return write_if_absent(home + "/gpg-agent.conf", kAgentConf);
}

Result<KeyInfo> generate_key(const GenerateOptions& options) {
  TRY(check_generate(options));
  TRY(prepare_home(options.home));
  TRY_ASSIGN(UniqueFd lock, lock_home(options.home, HomeUse::kWrite));
  TRY_ASSIGN(const Context context, new_context(options.home));
  Passphrase passphrase(options.passphrase_file);
  passphrase.attach(context.get());
  unsigned flags = GPGME_CREATE_SIGN | GPGME_CREATE_FORCE;
  if (options.passphrase_file.empty()) {
    flags |= GPGME_CREATE_NOPASSWD;
  }
  if (options.valid_for.count() == 0) {
    flags |= GPGME_CREATE_NOEXPIRE;
  }
  const gpgme_error_t error =
      gpgme_op_createkey(context.get(), options.user_id.c_str(), options.algorithm.c_str(), 0,
                         static_cast<unsigned long>(options.valid_for.count()), nullptr, flags);
  if (error != 0) {
    if (!passphrase.failure().is_ok()) {
      return passphrase.failure();
    }
    return gpgme_trouble("making a key in " + options.home, error, "is the home writable?");
  }
  lock.reset();
  const gpgme_genkey_result_t result = gpgme_op_genkey_result(context.get());
  TRY_ASSIGN(std::vector<KeyInfo> keys,
             list_keys(options.home, true, or_empty(result != nullptr ? result->fpr : nullptr)));
  if (keys.size() != 1) {
    return Status::temporary("4.7.0",
                             "gpg made a key in " + options.home + " but does not list it");
  }
  return std::move(keys.front());
}

Result<std::vector<KeyInfo>> list_keys(const std::string& home, bool secret_only,
                                       const std::string& pattern) {
  TRY(check_home(home));
  TRY_ASSIGN(const UniqueFd lock, lock_home(home, HomeUse::kRead));
  TRY_ASSIGN(const Context context, new_context(home));
  const char* wanted = pattern.empty() ? nullptr : pattern.c_str();
  const gpgme_error_t error = gpgme_op_keylist_start(context.get(), wanted, secret_only ? 1 : 0);
  if (error != 0) {
    return gpgme_trouble("listing keys in " + home, error, "");
  }
  return collect(context.get(), home);
}

Result<std::string> export_key(const std::string& home, const std::string& fingerprint) {
  TRY(check_home(home));
  TRY_ASSIGN(const std::string wanted, normalize_fingerprint(fingerprint));
  TRY_ASSIGN(const UniqueFd lock, lock_home(home, HomeUse::kRead));
  TRY_ASSIGN(const Context context, new_context(home));
  TRY_ASSIGN(Data data, memory_data());
  const gpgme_error_t error = gpgme_op_export(context.get(), wanted.c_str(), 0, data.get());
  if (error != 0) {
    return gpgme_trouble("exporting key " + wanted + " from " + home, error, "");
  }
  TRY_ASSIGN(std::string text, take_bytes(std::move(data)));
  if (text.empty()) {
    return Status::temporary("4.7.5", "there is no key " + wanted + " in " + home);
  }
  return text;
}

Result<std::vector<KeyInfo>> inspect_key(const std::string& key_text) {
  if (key_text.size() > kMaxKeyText) {
    return Status::temporary("4.7.5", "a key file of more than 1 MiB is none");
  }
  TRY_ASSIGN(const EmptyHome home, EmptyHome::make());
  TRY_ASSIGN(const Context context, new_context(home.path()));
  TRY_ASSIGN(const Data data, memory_data(key_text));
  const gpgme_error_t error = gpgme_op_keylist_from_data_start(context.get(), data.get(), 0);
  if (error != 0) {
    return gpgme_trouble("reading a key file", error, "");
  }
  auto keys = collect(context.get(), "a key file");
  if (!keys.is_ok() || keys->empty()) {
    return Status::temporary("4.7.5",
                             "the file holds no OpenPGP key; expected is the output of "
                             "bsmtpctl key export (or gpg --armor --export)");
  }
  return keys;
}

Result<KeyInfo> import_key(const std::string& home, const std::string& key_text,
                           const std::string& expected_fingerprint) {
  TRY_ASSIGN(const std::string expected, normalize_fingerprint(expected_fingerprint));
  TRY_ASSIGN(const std::vector<KeyInfo> found, inspect_key(key_text));
  if (found.size() != 1) {
    return Status::permanent("5.7.5", "the file holds " + std::to_string(found.size()) +
                                          " keys; import them one by one");
  }
  if (found.front().fingerprint != expected) {
    return Status::permanent("5.7.5", "the key in the file has fingerprint " +
                                          found.front().fingerprint + ", not the expected " +
                                          expected + "; nothing was imported");
  }
  if (found.front().secret) {
    return Status::permanent("5.7.5",
                             "the file holds a SECRET key; whoever sent it must make a "
                             "new key and send only the public one");
  }
  TRY(prepare_home(home));
  {
    TRY_ASSIGN(const UniqueFd lock, lock_home(home, HomeUse::kWrite));
    TRY_ASSIGN(const Context context, new_context(home));
    TRY_ASSIGN(const Data data, memory_data(key_text));
    if (const gpgme_error_t error = gpgme_op_import(context.get(), data.get()); error != 0) {
      return gpgme_trouble("importing key " + expected + " into " + home, error,
                           "is the home writable?");
    }
  }
  TRY_ASSIGN(std::vector<KeyInfo> keys, list_keys(home, false, expected));
  if (keys.size() != 1 || keys.front().fingerprint != expected) {
    return Status::temporary("4.7.0", "gpg did not import key " + expected + " into " + home);
  }
  return std::move(keys.front());
}

}  // namespace bsmtp::crypto
