// Certificates with any names, made in the process, for tests of what reads names.
#pragma once

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

namespace bsmtp::test {

struct DnPart {
  const char* type;
  std::string value;
};
using Dn = std::vector<DnPart>;

inline void add_names(X509_NAME* name, const Dn& dn) {
  for (const DnPart& part : dn) {
    ASSERT_EQ(X509_NAME_add_entry_by_txt(
                  name, part.type, MBSTRING_UTF8,
                  reinterpret_cast<const unsigned char*>(part.value.data()),  // NOLINT
                  static_cast<int>(part.value.size()), -1, 0),
              1)
        << part.type << part.value;
  }
}

// A certificate with these names, as PEM or DER. Its signature is of no matter here.
inline std::string certificate(const Dn& subject, const Dn& issuer, bool der = false) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
  add_names(X509_get_subject_name(cert.get()), subject);
  add_names(X509_get_issuer_name(cert.get()), issuer);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 86400);
  X509_set_pubkey(cert.get(), key.get());
  EXPECT_GT(X509_sign(cert.get(), key.get(), EVP_sha256()), 0);
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  EXPECT_EQ(der ? i2d_X509_bio(out.get(), cert.get()) : PEM_write_bio_X509(out.get(), cert.get()),
            1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);  // NOLINT(google-runtime-int)
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace bsmtp::test
