// The names in a certificate as sendmail 8.17 knows them in {cert_subject}, {cert_issuer},
// {cn_subject} and {cn_issuer}: the DN in OpenSSL's one-line form, then every character that would
// disturb a ruleset as "+" and two hexadecimal digits. Guarantees the same text as sendmail's, cut
// where sendmail cuts, as long as both run with the same OpenSSL: recent releases escape a slash or
// plus inside a value, older ones do not. Trusts nothing in the certificate and verifies nothing.
#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp::crypto {

struct CertNames {
  std::string subject;  // encoded, printable ASCII
  std::string issuer;
  std::string cn_subject;
  std::string cn_issuer;
  bool subject_cut = false;  // longer than sendmail's buffer: it sees only the beginning
  bool issuer_cut = false;
};

// sendmail's encoding: blanks, control and 8-bit characters, and any of + \ ( ) < > " become +XX.
std::string sendmail_encoded(std::string_view text);

// Of the first certificate in `pem`, or of `pem` as DER. Permanent 5.6.0 naming `file` and what to
// do when there is none.
Result<CertNames> cert_names(std::string_view pem, std::string_view file);

}  // namespace bsmtp::crypto
