#include "common/crypto/cert_names.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/test_certificate.h"

namespace bsmtp::crypto {
namespace {

using test::certificate;
using test::Dn;

// Recent OpenSSL releases put a backslash before a slash or plus inside a value, so that
// it cannot pass for a separator; rows are written so, and read without it where OpenSSL is older.
std::string as_openssl_writes(std::string expected) {
  static const bool kEscapes =
      cert_names(certificate({{"CN", "a/b"}}, {}), "probe")->subject == "/CN=a+5C/b";
  for (const char* escaped : {"+5C/", "+5C+2B"}) {
    for (std::size_t at = expected.find(escaped); !kEscapes && at != std::string::npos;
         at = expected.find(escaped)) {
      expected.erase(at, 3);
    }
  }
  return expected;
}

const Dn kRoot = {{"O", "Rig"}, {"CN", "Rig Root CA"}};

TEST(CertNames, EncodesWhatSendmailEncodes) {
  EXPECT_EQ(sendmail_encoded("/O=a/CN=hub.domain.com"), "/O=a/CN=hub.domain.com");
  EXPECT_EQ(sendmail_encoded("a b\tc\n"), "a+20b+09c+0A");
  EXPECT_EQ(sendmail_encoded("<>()\"+\\"), "+3C+3E+28+29+22+2B+5C");
  EXPECT_EQ(sendmail_encoded("\x01\x7f\xc3\xbf"), "+01+7F+C3+BF");
  EXPECT_EQ(sendmail_encoded("!#$%&'*,-./:;=?@[]^_`{|}~"), "!#$%&'*,-./:;=?@[]^_`{|}~");
}

TEST(CertNames, OddDns) {
  struct Row {
    const char* what;
    Dn subject;
    const char* expected;
    const char* cn;
  };
  const Row rows[] = {
      {"as seen in sendmail's log",
       {{"O", "Rig"}, {"CN", "hub.domain.com"}},
       "/O=Rig/CN=hub.domain.com",
       "hub.domain.com"},
      {"the example of cf/README",
       {{"C", "US"},
        {"ST", "California"},
        {"O", "endmail.org"},
        {"OU", "private"},
        {"CN", "Darth Mail (Cert)"},
        {"emailAddress", "darth+cert@endmail.org"}},
       "/C=US/ST=California/O=endmail.org/OU=private/CN=Darth+20Mail+20+28Cert+29"
       "/emailAddress=darth+5C+2Bcert@endmail.org",
       "Darth+20Mail+20+28Cert+29"},
      // OpenSSL writes an octet outside ASCII as \xHH; the backslash is what sendmail encodes.
      {"UTF-8: the CN is raw, the DN is not",
       {{"CN", "M\xc3\xbcller"}},
       "/CN=M+5CxC3+5CxBCller",
       "M+C3+BCller"},
      {"a slash looks like a separator", {{"CN", "a/O=b"}}, "/CN=a+5C/O=b", "a/O=b"},
      {"quotes and a comma",
       {{"O", "Smith, \"Co\""}, {"CN", "x"}},
       "/O=Smith,+20+22Co+22/CN=x",
       "x"},
      {"the first of two CNs", {{"CN", "one"}, {"CN", "two"}}, "/CN=one/CN=two", "one"},
      {"no CN", {{"O", "Rig"}}, "/O=Rig", "BadCertificateUnknown"},
      {"no subject", {}, "", "BadCertificateUnknown"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const auto names = cert_names(certificate(row.subject, kRoot), "x.pem");
    ASSERT_TRUE(names.is_ok()) << names.status().text();
    EXPECT_EQ(names->subject, as_openssl_writes(row.expected));
    EXPECT_EQ(names->cn_subject, row.cn);
    EXPECT_EQ(names->issuer, "/O=Rig/CN=Rig+20Root+20CA");
    EXPECT_EQ(names->cn_issuer, "Rig+20Root+20CA");
    EXPECT_FALSE(names->subject_cut);
  }
}

TEST(CertNames, LongDnIsCutWhereSendmailCutsIt) {
  const std::string sixty(60, 'o');
  const Dn longest = {
      {"O", sixty}, {"OU", sixty}, {"OU", sixty}, {"L", sixty + "long"}, {"CN", "hub"}};
  const auto names = cert_names(certificate(longest, kRoot), "x.pem");
  ASSERT_TRUE(names.is_ok());
  EXPECT_TRUE(names->subject_cut);
  EXPECT_FALSE(names->issuer_cut);
  // OpenSSL leaves out the first part that does not fit 255 characters, and all behind it.
  EXPECT_EQ(names->subject, "/O=" + sixty + "/OU=" + sixty + "/OU=" + sixty);
  EXPECT_EQ(names->cn_subject, "hub");
}

TEST(CertNames, DerAndTextAroundPemAreRead) {
  const Dn subject = {{"CN", "hub.domain.com"}};
  const auto der = cert_names(certificate(subject, kRoot, true), "x.der");
  ASSERT_TRUE(der.is_ok()) << der.status().text();
  EXPECT_EQ(der->subject, "/CN=hub.domain.com");
  const auto pem = cert_names("Certificate:\n    Data:\n" + certificate(subject, kRoot), "x.pem");
  ASSERT_TRUE(pem.is_ok()) << pem.status().text();
  EXPECT_EQ(pem->subject, "/CN=hub.domain.com");
}

TEST(CertNames, WhatIsNoCertificateIsNamedWithARemedy) {
  std::string broken = certificate({{"CN", "x"}}, kRoot);
  broken.resize(broken.size() / 2);
  const std::string key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
  for (const std::string& text : {std::string(), std::string("hello\n"), broken, key}) {
    const auto names = cert_names(text, "odd.pem");
    ASSERT_FALSE(names.is_ok());
    EXPECT_FALSE(names.status().is_temporary());
    EXPECT_NE(names.status().text().find("odd.pem holds no certificate"), std::string::npos);
    EXPECT_NE(names.status().text().find("BEGIN CERTIFICATE"), std::string::npos);
  }
}

}  // namespace
}  // namespace bsmtp::crypto
