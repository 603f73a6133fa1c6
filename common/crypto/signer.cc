// Signer and check_home() of openpgp.h.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/text.h"
#include "common/crypto/gpgme_handles.h"
#include "common/crypto/keyring.h"
#include "common/crypto/openpgp.h"

namespace bsmtp::crypto {
namespace {

// Why the key cannot sign, "" when it can.
std::string why_unusable(const _gpgme_key& key) {
  if (key.revoked) {
    return "is revoked";
  }
  if (key.expired) {
    return "has expired";
  }
  for (const _gpgme_subkey* subkey = key.subkeys; subkey != nullptr; subkey = subkey->next) {
    if (subkey->can_sign && subkey->secret && usable(*subkey)) {
      return "";
    }
  }
  return "has no usable signing key with a secret part";
}

}  // namespace

Status check_home(const std::string& home) {
  if (home.empty() || home.front() != '/') {
    return Status::temporary("4.3.5", "GnuPG home \"" + home + "\" is no absolute path");
  }
  if (home.size() > kMaxHomePath) {
    return Status::temporary(
        "4.3.5", "GnuPG home " + home + " is " + std::to_string(home.size()) +
                     " octets long; gpg-agent's sockets need it to be at most " +
                     std::to_string(kMaxHomePath) + ": set a shorter openpgp-directory");
  }
  struct stat info {};
  if (::stat(home.c_str(), &info) != 0) {
    return Status::from_errno("GnuPG home " + home, errno);
  }
  if (!S_ISDIR(info.st_mode)) {
    return Status::temporary("4.3.5", "GnuPG home " + home + " is no directory");
  }
  if (::access(home.c_str(), R_OK | X_OK) != 0) {
    return Status::from_errno("GnuPG home " + home, errno);
  }
  return Status::ok();
}

struct Signer::Impl {
  explicit Impl(SignerOptions given)
      : options(std::move(given)), passphrase(options.passphrase_file) {}

  std::string what() const { return "signing with key " + options.fingerprint; }
  Status check_result() const;
  Result<std::string> sign(gpgme_data_t data);

  SignerOptions options;
  Passphrase passphrase;
  Context context;
};

Signer::Signer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Signer::~Signer() = default;
Signer::Signer(Signer&&) noexcept = default;
Signer& Signer::operator=(Signer&&) noexcept = default;

const std::string& Signer::fingerprint() const {
  return impl_->options.fingerprint;
}

Result<Signer> Signer::open(const SignerOptions& options) {
  TRY(check_home(options.home));
  auto impl = std::make_unique<Impl>(options);
  TRY_ASSIGN(impl->options.fingerprint, normalize_fingerprint(options.fingerprint));
  TRY_ASSIGN(const UniqueFd lock, lock_home(options.home, HomeUse::kRead));
  TRY_ASSIGN(impl->context, new_context(options.home));
  gpgme_ctx_t context = impl->context.get();
  TRY_ASSIGN(const Key key, find_key(context, impl->options.fingerprint, true));
  const std::string name = "signing key " + impl->options.fingerprint + " in " + options.home;
  if (key == nullptr) {
    return Status::temporary("4.7.5", name + " is not there, or its secret part is not readable");
  }
  if (const std::string why = why_unusable(*key); !why.empty()) {
    return Status::temporary("4.7.5", name + " " + why +
                                          "; make a new one (bsmtpctl key generate)" +
                                          " and have the peers import it");
  }
  if (const gpgme_error_t error = gpgme_signers_add(context, key.get()); error != 0) {
    return gpgme_trouble(name, error, "");
  }
  gpgme_set_textmode(context, 1);
  impl->passphrase.attach(context);
  return Signer(std::move(impl));
}

Status Signer::Impl::check_result() const {
  const gpgme_sign_result_t result = gpgme_op_sign_result(context.get());
  const gpgme_new_signature_t made = result != nullptr ? result->signatures : nullptr;
  if (made == nullptr || made->next != nullptr) {
    return Status::temporary("4.7.0", what() + ": gpg made no signature, or several");
  }
  if (made->hash_algo != GPGME_MD_SHA256) {
    return Status::temporary(
        "4.7.0", what() + ": gpg used " + or_empty(gpgme_hash_algo_name(made->hash_algo)) +
                     "; put \"digest-algo SHA256\" into " + options.home + "/gpg.conf");
  }
  constexpr unsigned kTextSignature = 0x01;  // RFC 9580 5.2.1
  if (made->sig_class != kTextSignature || made->type != GPGME_SIG_MODE_DETACH) {
    return Status::temporary("4.7.0", what() + ": gpg made no text-mode signature; look for " +
                                          "unusual options in " + options.home + "/gpg.conf");
  }
  return Status::ok();
}

Result<std::string> Signer::Impl::sign(gpgme_data_t data) {
  TRY_ASSIGN(Data signature, memory_data());
  const gpgme_error_t error =
      gpgme_op_sign(context.get(), data, signature.get(), GPGME_SIG_MODE_DETACH);
  if (error != 0) {
    if (!passphrase.failure().is_ok()) {
      return passphrase.failure().with_context(what());
    }
    if (gpgme_err_code(error) == GPG_ERR_BAD_PASSPHRASE) {
      return Status::temporary("4.7.0", what() + ": the passphrase in " + options.passphrase_file +
                                            " is not the one of the key");
    }
    return gpgme_trouble(what(), error,
                         "see bsmtpctl key list, and whether " + options.home +
                             " is writable for gpg-agent's sockets");
  }
  TRY(check_result());
  return take_bytes(std::move(signature));
}

Result<std::string> Signer::sign(Source& data) {
  TRY_ASSIGN(const UniqueFd lock, lock_home(impl_->options.home, HomeUse::kRead));
  TRY_ASSIGN(const auto source, SourceData::make(data));
  auto signature = impl_->sign(source->get());
  if (!source->failure().is_ok()) {
    return source->failure();
  }
  return signature;
}

}  // namespace bsmtp::crypto
