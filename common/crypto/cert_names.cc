#include "common/crypto/cert_names.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <cstring>
#include <memory>

#include "common/base/text.h"

namespace bsmtp::crypto {
namespace {

// MAXNAME of sendmail's conf.h: the buffer that it gives to OpenSSL.
constexpr std::size_t kSendmailName = 256;
using NameBuffer = std::array<char, kSendmailName>;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* cert) const { X509_free(cert); }
  void operator()(char* text) const { OPENSSL_free(text); }
};
using Certificate = std::unique_ptr<X509, Free>;

std::unique_ptr<BIO, Free> reader(std::string_view text) {
  return std::unique_ptr<BIO, Free>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Certificate read_certificate(std::string_view text) {
  if (const auto pem = reader(text)) {
    if (Certificate found{PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr)}) {
      return found;
    }
  }
  const auto der = reader(text);
  return der ? Certificate{d2i_X509_bio(der.get(), nullptr)} : nullptr;
}

// The one-line form as sendmail gets it; `cut` when its buffer is too short for the whole.
std::string one_line(const X509_NAME* name, bool& cut) {
  NameBuffer buffer{};
  if (X509_NAME_oneline(name, buffer.data(), static_cast<int>(buffer.size())) == nullptr) {
    return "";
  }
  const std::unique_ptr<char, Free> whole(X509_NAME_oneline(name, nullptr, 0));
  cut = whole != nullptr && std::strcmp(whole.get(), buffer.data()) != 0;
  return buffer.data();
}

// The first CN, or the word that sendmail puts in its place.
std::string common_name(const X509_NAME* name) {
  NameBuffer buffer{};
  const int length = X509_NAME_get_text_by_NID(name, NID_commonName, buffer.data(),
                                               static_cast<int>(buffer.size()));
  if (length < 0) {
    return "BadCertificateUnknown";
  }
  if (static_cast<std::size_t>(length) >= buffer.size() - 1) {
    return "BadCertificateTooLong";
  }
  if (static_cast<std::size_t>(length) > std::strlen(buffer.data())) {
    return "BadCertificateContainsNUL";
  }
  return buffer.data();
}

}  // namespace

std::string sendmail_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  constexpr std::string_view kTaboo = "+\\()<>\"";
  std::string result;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < '!' || octet > '~' || kTaboo.find(c) != std::string_view::npos) {
      result += '+';
      result += kDigits[octet >> 4U];
      result += kDigits[octet & 0xfU];
    } else {
      result += c;
    }
  }
  return result;
}

Result<CertNames> cert_names(std::string_view pem, std::string_view file) {
  const Certificate cert = read_certificate(pem);
  ERR_clear_error();  // What OpenSSL says about the form that it is not would mislead.
  if (cert == nullptr) {
    return Status::permanent(
        "5.6.0", str_cat({file,
                          " holds no certificate; give the .pem or .der file whose text "
                          "begins with -----BEGIN CERTIFICATE-----, not a key, a request or "
                          "a revocation list"}));
  }
  const X509_NAME* subject = X509_get_subject_name(cert.get());
  const X509_NAME* issuer = X509_get_issuer_name(cert.get());
  CertNames names;
  names.subject = sendmail_encoded(one_line(subject, names.subject_cut));
  names.issuer = sendmail_encoded(one_line(issuer, names.issuer_cut));
  names.cn_subject = sendmail_encoded(common_name(subject));
  names.cn_issuer = sendmail_encoded(common_name(issuer));
  return names;
}

}  // namespace bsmtp::crypto
