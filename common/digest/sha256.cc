#include "common/digest/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp::digest {

namespace {

// Fetched once: EVP_sha256() alone is looked up again at each use, which takes longer than the
// digest of an address. Never freed, as the library itself outlives every user.
const EVP_MD* sha256() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  BSMTP_CHECK(method != nullptr);
  return method;
}

}  // namespace

struct Sha256::Impl {
  Impl() : context(EVP_MD_CTX_new()) {
    BSMTP_CHECK(context != nullptr);
    BSMTP_CHECK(EVP_DigestInit_ex(context, sha256(), nullptr) == 1);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { EVP_MD_CTX_free(context); }

  EVP_MD_CTX* context;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view data) {
  BSMTP_CHECK(EVP_DigestUpdate(impl_->context, data.data(), data.size()) == 1);
}

std::string Sha256::finish() {
  std::array<unsigned char, kSha256Octets> octets{};
  unsigned size = 0;
  BSMTP_CHECK(EVP_DigestFinal_ex(impl_->context, octets.data(), &size) == 1);
  BSMTP_CHECK(size == octets.size());
  return {octets.begin(), octets.end()};
}

std::string Sha256::finish_hex() {
  return to_hex(finish());
}

std::string sha256_hex(std::string_view data) {
  Sha256 digest;
  digest.update(data);
  return digest.finish_hex();
}

Status Sha256Sink::write(std::string_view data) {
  digest_.update(data);
  return next_ != nullptr ? next_->write(data) : Status::ok();
}

}  // namespace bsmtp::digest
