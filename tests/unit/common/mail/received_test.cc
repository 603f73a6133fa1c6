#include "common/mail/received.h"

#include <gtest/gtest.h>

namespace bsmtp::mail {
namespace {

constexpr const char* kPostfix = "from hub.domain.com (hub.domain.com [10.99.0.2]) ";
constexpr const char* kUsing =
    "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)  key-exchange X25519 "
    "server-signature ECDSA (P-256) server-digest SHA256) ";
constexpr const char* kTaken =
    "by athena.domain.co.uk (Postfix) with ESMTPS id ABC for <bsmtp@athena.domain.co.uk>; Sun, 22 "
    "Nov 2026 01:10:00 +0000 (UTC)";
constexpr const char* kSendmail =
    "from hub.domain.com (hub.domain.com [10.99.0.2]) by Athena.domain.co.uk "
    "(8.17.1.9/8.17.1.9/Debian-2) with ESMTPS id 6AM8 ";

TEST(ReceivedTls, WhatTheMtasWrite) {
  const std::string p = std::string(kPostfix) + kUsing;
  const std::string plain = "by athena.domain.co.uk (Postfix) with ESMTP id ABC; x";
  const struct {
    const char* name;
    std::string value;
    const char* version;
    const char* verify;
  } cases[] = {
      {"Postfix, verified",
       p + "(Client CN \"hub.domain.com\", Issuer \"Mail CA\" (verified OK)) " + kTaken, "TLSv1.3",
       "OK"},
      {"Postfix, rogue",
       p + "(Client CN \"hub.domain.com\", Issuer \"Mail CA\" (not verified)) " + kTaken, "TLSv1.3",
       "FAIL"},
      {"Postfix, no certificate", p + "(Client did not present a certificate) " + kTaken, "TLSv1.3",
       "NO"},
      {"Postfix, not asked", p + "(No client certificate requested) " + kTaken, "TLSv1.3", "NOT"},
      {"Postfix, a word we do not know", p + "(Client CN \"a\", Issuer \"b\" (perhaps)) " + kTaken,
       "TLSv1.3", ""},
      {"Postfix without smtpd_tls_received_header", std::string(kPostfix) + kTaken, "yes", ""},
      {"Postfix, no TLS", kPostfix + plain, "none", ""},
      {"Postfix, authenticated",
       std::string(kPostfix) + "by athena.domain.co.uk (Postfix) with ESMTPSA id A; x", "yes", ""},
      {"sendmail, verified",
       std::string(kSendmail) +
           "(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=OK); x",
       "TLSv1.3", "OK"},
      {"sendmail, rogue, with recipient",
       std::string(kSendmail) + "(version=TLSv1.2 cipher=ECDHE-RSA-AES128-GCM-SHA256 bits=128 "
                                "verify=FAIL) for <bsmtp@athena.domain.co.uk>; x",
       "TLSv1.2", "FAIL"},
      {"sendmail, DANE",
       std::string(kSendmail) + "(version=TLSv1.3 cipher=X bits=256 verify=DANE_FAIL); x",
       "TLSv1.3", "DANE_FAIL"},
      {"sendmail, no TLS",
       "from a (b [1.2.3.4]) by athena.domain.co.uk (8.17.1) with ESMTP id 6A for <b@c>; x", "none",
       ""},
      {"another host",
       std::string(kSendmail).replace(53, 6, "relay0") +
           "(version=TLSv1.3 cipher=X bits=256 verify=OK); x",
       "unknown", ""},
      {"local", "(from bsmtp@localhost) by athena.domain.co.uk (8.17.1/Submit) id 6A; x", "unknown",
       ""},
      {"no by", "from a (b [1.2.3.4])", "unknown", ""},
      {"by at the end", "from a by", "unknown", ""},
      {"empty", "", "unknown", ""},
  };
  for (const auto& c : cases) {
    const ReceivedTls got = received_tls(c.value, "athena.domain.co.uk");
    EXPECT_EQ(got.version, c.version) << c.name;
    EXPECT_EQ(got.verify, c.verify) << c.name;
  }
}

// Everything in front of "by", and a certificate's names, is the client's to choose.
TEST(ReceivedTls, WhatAClientMayTry) {
  const std::string none = "by athena.domain.co.uk (Postfix) with ESMTP id ABC; x";
  const std::string rogue = "(Client CN \"x\", Issuer \"y\" (not verified)) ";
  const struct {
    const char* name;
    std::string value;
    const char* version;
    const char* verify;
  } cases[] = {
      {"HELO as a clause", "from x by athena.domain.co.uk with ESMTPS id 1 (u [1.2.3.4]) " + none,
       "none", ""},
      {"HELO as our comment, defused", "from ?using TLSv1.3 with? (u [1.2.3.4]) " + none, "none",
       ""},
      {"name in the DNS", "from x (using [1.2.3.4]) " + none, "none", ""},
      {"CN that tells a story",
       std::string(kPostfix) + kUsing +
           "(Client CN \"x\", Issuer \"y\" (verified OK), a \"\", Issuer \"y\" (not verified)) " +
           kTaken,
       "TLSv1.3", "FAIL"},
      {"CN as sendmail's comment",
       std::string(kPostfix) + kUsing +
           "(Client CN \"(version=TLSv1.3 bits=256 verify=OK)\", Issuer \"y\" (not verified)) " +
           kTaken,
       "TLSv1.3", "FAIL"},
      {"sendmail's comment in front of by", "from x (version=TLSv1.3 verify=OK) " + none, "none",
       ""},
      {"our name in the client's comment",
       "from x (by athena.domain.co.uk [1.2.3.4]) by relay.example (Postfix) with ESMTPS id A; x",
       "unknown", ""},
      {"a comment without end",
       std::string(kPostfix) + kUsing + rogue + "by athena.domain.co.uk (Postfix with ESMTPS",
       "TLSv1.3", "FAIL"},
      {"versions that are none",
       std::string(kSendmail) + "(version=TLSv1.3;rm cipher=x verify=OK); x", "yes", ""},
      {"a verify that is none", std::string(kSendmail) + "(version=TLSv1.3 verify=ok\x01); x",
       "TLSv1.3", ""},
  };
  for (const auto& c : cases) {
    const ReceivedTls got = received_tls(c.value, "athena.domain.co.uk");
    EXPECT_EQ(got.version, c.version) << c.name;
    EXPECT_EQ(got.verify, c.verify) << c.name;
  }
}

}  // namespace
}  // namespace bsmtp::mail
