// The rows of RFC 2442's checklist (docs/parcel-format.md) that the parcel codec answers for; those
// of the batch grammar are in tests/unit/common/bsmtp, those of delivery in tests/unit/mda.
#include "common/base/text.h"
#include "common/codec/base64.h"
#include "common/codec/quoted_printable.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

class Rfc2442 : public ParcelTest {
 protected:
  Rfc2442() {
    transport_peer = "hub";
    peers[0].require_signature = false;
    peers[0].profile = Profile::kRfc2442;
  }
  static std::string object(std::string_view content_type, std::string_view encoding,
                            std::string_view body) {
    return mail_of(str_cat({"Content-Type: ", content_type,
                            "\r\nContent-Transfer-Encoding: ", encoding, "\r\n\r\n", body}));
  }
  static std::string batch(std::string_view mail_params = "", std::string_view text = "y\r\n") {
    return str_cat({"EHLO hub.domain.com\r\nMAIL FROM:<a@domain.com>", mail_params,
                    "\r\nRCPT TO:<b@domain.co.uk>\r\nDATA\r\n", text, ".\r\nQUIT\r\n"});
  }
  // The batch inside an entity of the rfc2442 profile.
  std::string built_batch(BuildRequest r) {
    const std::string entity = build_entity(std::move(r));
    const auto decoded = codec::base64_decode(entity.substr(entity.find("\r\n\r\n") + 4));
    EXPECT_TRUE(decoded.is_ok());
    return decoded.is_ok() ? *decoded : "";
  }
};

TEST_F(Rfc2442, G1_ContentHasNoBareCrOrLf) {
  const std::string content = built_batch(request(Profile::kRfc2442));
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\r') {
      ASSERT_TRUE(i + 1 < content.size() && content[i + 1] == '\n') << i;
    } else if (content[i] == '\n') {
      ASSERT_TRUE(i > 0 && content[i - 1] == '\r') << i;
    }
  }
}

TEST_F(Rfc2442, G2_TypeNameIsMatchedInAnyCase) {
  for (const char* type : {"APPLICATION/BATCH-SMTP", "application/batch-smtp",
                           "Application/Batch-SMTP; charset=us-ascii"}) {
    expect_opened(object(type, "7bit", batch()), 1);
  }
}

TEST_F(Rfc2442, G3_LongCommandLinesRoundTripOverA7bitTransport) {
  messages[0].envelope.recipients[0].orcpt = "rfc822;" + std::string(480, 'o') + "@x.org";
  messages[0].envelope.envid = std::string(100, 'E');
  expect_opened(mail_of(build_entity(request(Profile::kRfc2442))));
  expect_same_messages();
  EXPECT_EQ(delivered[0].envelope.recipients[0].orcpt, messages[0].envelope.recipients[0].orcpt);
}

TEST_F(Rfc2442, G3_EveryTransferEncodingIsUndone) {
  const std::string plain = batch("", "z=C3\r\n");
  expect_opened(object("application/batch-SMTP", "8bit", batch(" BODY=8BITMIME", "z\xC3\r\n")), 1);
  EXPECT_EQ(delivered[0].text, "z\xC3\r\n");
  expect_opened(object("application/batch-SMTP", "binary", plain), 1);
  expect_opened(object("application/batch-SMTP", "base64", codec::base64_encode(plain)), 1);
  EXPECT_EQ(delivered[0].text, "z=C3\r\n");
  expect_opened(object("application/batch-SMTP", "quoted-printable", plain), 1);
  EXPECT_EQ(delivered[0].text, "z\xC3\r\n") << "what an MTA made of an 8bit batch";
  expect_rejected(object("application/batch-SMTP", "x-uuencode", plain), Reject::kMalformed);
}

TEST_F(Rfc2442, G5_G8_OnlyTheThreeDefaultKeywordsAreUsed) {
  messages[0].envelope.ret = "HDRS";
  messages[0].envelope.envid = "QQ314159";
  messages[0].envelope.body = "8BITMIME";
  messages[0].envelope.size = 100;
  messages[0].envelope.recipients[0].notify = "FAILURE,DELAY";
  const std::string content = built_batch(request(Profile::kRfc2442));
  EXPECT_EQ(content.find("EHLO "), 0U);
  expect_opened(mail_of(build_entity(request(Profile::kRfc2442))));
  EXPECT_EQ(delivered[0].envelope.envid, "QQ314159");
  EXPECT_EQ(delivered[0].envelope.recipients[0].notify, "FAILURE,DELAY");
}

TEST_F(Rfc2442, G7_WhatWasNotAgreedIsNeverEmitted) {
  BuildRequest r = request(Profile::kRfc2442);
  r.items.push_back(
      string_item("utf8", "MAIL FROM:<a@b.c> SMTPUTF8\r\nRCPT TO:<d@e.f>\r\nDATA\r\nx\r\n.\r\n"));
  os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
  std::size_t bad = 99;
  const auto built = build(r, os::real_file_ops(), out, &bad);
  EXPECT_EQ(built.status().code(), "5.6.7");
  EXPECT_EQ(bad, 2U);
}

TEST_F(Rfc2442, G9_RequiredExtensionsStandInQuotesAndOnlyWhenNeeded) {
  const std::string entity = build_entity(request(Profile::kRfc2442));
  EXPECT_EQ(entity.find("required-extensions"), std::string::npos) << "the default says it";
  expect_opened(object("application/batch-SMTP; required-extensions=\"8bitMIME, SIZE ,NOTARY\"",
                       "7bit", batch()),
                1);
  expect_opened(object("application/batch-SMTP; required-extensions=size", "7bit", batch()), 1);
}

TEST_F(Rfc2442, G10_MeaninglessKeywordsDoNotFail) {
  expect_opened(object("application/batch-SMTP; required-extensions=\"SIZE,PIPELINING,DSN\"",
                       "7bit", batch()),
                1);
}

TEST_F(Rfc2442, T1_SameObjectByFileOrByMail) {
  const std::string entity = build_entity(request(Profile::kRfc2442));
  const Opened by_mail = expect_opened(mail_of(entity));
  const Opened by_file = expect_opened(entity);
  EXPECT_EQ(by_mail.id, by_file.id);
  EXPECT_EQ(by_mail.digest, by_file.digest);
}

TEST_F(Rfc2442, P1_UnsupportedExtensionOrOtherTypeExecutesNothing) {
  const Rejected rejected = expect_rejected(
      object("application/batch-SMTP; required-extensions=\"SIZE,X-TELEPATHY\"", "7bit", batch()),
      Reject::kUnsupported);
  EXPECT_NE(rejected.why.find("X-TELEPATHY"), std::string::npos) << "P2: the postmaster can tell";
  expect_rejected(object("application/batch-SMTP2", "7bit", batch()), Reject::kNotAParcel);
  expect_rejected(
      object("application/batch-SMTP; required-extensions=\"SIZE\x01\"", "7bit", batch()),
      Reject::kMalformed);
}

TEST_F(Rfc2442, P3_P9_AnyGreetingAndRset) {
  expect_opened(
      object("application/batch-SMTP", "7bit",
             "HELO [192.0.2.1]\r\nEHLO odd_domain\r\nMAIL FROM:<x@domain.com>\r\nRSET\r\n" +
                 batch().substr(batch().find("MAIL"))),
      1);
}

TEST_F(Rfc2442, P7_DataWithoutAnyRecipientStaysInStep) {
  expect_opened(object("application/batch-SMTP", "7bit",
                       "EHLO a.b\r\nMAIL FROM:<x@domain.com>\r\nDATA\r\nx\r\n.\r\n" +
                           batch().substr(batch().find("MAIL"))),
                2);
  EXPECT_TRUE(delivered[0].envelope.recipients.empty());
  EXPECT_EQ(delivered[1].envelope.recipients.size(), 1U);
}

TEST_F(Rfc2442, P8_8bitMimeArrivesIdentical) {
  messages[0].text = "Subject: x\r\n\r\n\x80\xFF\xC3\xBC\r\n";
  messages[0].envelope.body = "8BITMIME";
  expect_opened(mail_of(build_entity(request(Profile::kRfc2442))));
  expect_same_messages();
}

TEST_F(Rfc2442, P11_SyntacticallyInvalidObjectIsRejectedWhole) {
  const struct {
    const char* name;
    std::string content;
  } kCases[] = {
      {"unknown verb", "EHLO a.b\r\nFOO\r\nQUIT\r\n"},
      {"no greeting", batch().substr(batch().find("MAIL"))},
      {"no end dot", batch().substr(0, batch().find("\r\n.\r\n") + 2)},
      {"no QUIT in an unguarded object", batch().substr(0, batch().find("QUIT"))},
      {"text behind QUIT", batch() + "MAIL FROM:<a@b.c>\r\n"},
      {"bare LF", batch("", "a\nb\r\n")},
      {"bare CR", batch("", "a\rb\r\n")},
      {"NUL", batch("", std::string("a\0b\r\n", 5))},
      {"nothing", ""},
  };
  for (const auto& c : kCases) {
    expect_rejected(object("application/batch-SMTP", "7bit", c.content), Reject::kMalformed,
                    c.name);
  }
}

TEST_F(Rfc2442, P12_OnlyAuthorisedGenerators) {
  const std::string whole = mail_of(build_entity(request(Profile::kRfc2442)));
  transport_peer = "";
  expect_rejected(whole, Reject::kUnsigned);
  transport_peer = "nobody";
  expect_rejected(whole, Reject::kUnsigned);
  const std::string native = mail_of(build_entity(request(Profile::kNative), rings->stranger_key));
  transport_peer = "";
  expect_rejected(native, Reject::kUnknownKey);
}

TEST_F(Rfc2442, SmugglingCombinationsInsideDataAreIdenticalOrRefused) {
  // Every sequence of 1 to 5 octets from CR, LF and dot, in a batch as it might be forged.
  constexpr std::string_view kOctets = "\r\n.";
  for (std::size_t length = 1; length <= 5; ++length) {
    std::size_t all = 1;
    for (std::size_t i = 0; i < length; ++i) {
      all *= 3;
    }
    for (std::size_t n = 0; n < all; ++n) {
      std::string sequence;
      for (std::size_t i = 0, rest = n; i < length; ++i, rest /= 3) {
        sequence += kOctets[rest % 3];
      }
      Collector collector;
      const auto result = try_open(object("application/batch-SMTP", "binary",
                                          batch("", "a" + sequence + "MAIL FROM:<e@vil.org>\r\n")),
                                   collector);
      ASSERT_TRUE(result.is_ok());
      if (std::holds_alternative<Opened>(*result)) {
        ASSERT_EQ(collector.messages.size(), 1U) << n;
      }
    }
  }
}

}  // namespace
}  // namespace bsmtp::parcel
