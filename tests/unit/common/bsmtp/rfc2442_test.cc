// One test per row of the RFC 2442 checklist (docs/parcel-format.md): G = generator, T =
// transport, P = processor. Rows that need keys, spool or a host MTA are here as far as the batch
// itself decides them; parcel, receive and the system test have the rest under the same names.
#include <gtest/gtest.h>

#include "common/mail/mime.h"
#include "tests/unit/common/bsmtp/batch_support.h"

namespace bsmtp::batch {
namespace {

TEST(Rfc2442, G1_ObjectHasNoBareCrOrLf) {
  const std::string object =
      write_batch({item("Subject: a\r\n\r\n..\r\n"), item("\r\n"), item("")});
  for (std::size_t i = 0; i < object.size(); ++i) {
    if (object[i] == '\n') {
      EXPECT_TRUE(i > 0 && object[i - 1] == '\r') << i;
    }
    if (object[i] == '\r') {
      EXPECT_TRUE(i + 1 < object.size() && object[i + 1] == '\n') << i;
    }
  }
  EXPECT_TRUE(object.ends_with("\r\nQUIT\r\n"));
  EXPECT_EQ(write_batch({item("a\nb\r\n")}), "5.6.1");
  EXPECT_EQ(write_batch({item("a\rb\r\n")}), "5.6.1");
}

TEST(Rfc2442, G2_TypeNameMatchesInAnyCase) {
  for (const char* type : {"application/batch-SMTP", "APPLICATION/BATCH-SMTP",
                           "application/batch-smtp; required-extensions=\"SIZE\""}) {
    const auto parsed = mail::parse_media_type(type);
    ASSERT_TRUE(parsed.is_ok());
    EXPECT_TRUE(parsed->is("application/batch-smtp")) << type;
  }
}

TEST(Rfc2442, G3_LongCommandsAndLinesAndEightBitPassUnchanged) {
  const std::string long_recipient(1036 - 2 - 11, 'a');  // the whole line: 1036 octets
  const std::string text = std::string(200000, 'x') + "\xFF\r\n";
  const Parsed parsed = parse(write_batch({item(text, "ann@domain.com", long_recipient)}));
  ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
  EXPECT_EQ(parsed.messages[0].envelope.recipients[0].address, long_recipient);
  EXPECT_EQ(parsed.messages[0].plain, text);
  EXPECT_TRUE(parsed.messages[0].facts.has_8bit);
}

TEST(Rfc2442, G4_MoreThanAHundredRecipientsBecomeSeveralTransactions) {
  std::string many = "MAIL FROM:<a@x>\r\n";
  for (int i = 0; i < 250; ++i) {
    many += "RCPT TO:<r" + std::to_string(i) + "@y>\r\n";
  }
  many += "DATA\r\nsame text\r\n.\r\n";
  StringSink sink;
  Writer writer(sink, {"hub.domain.com", {}});
  ASSERT_TRUE(writer.begin().is_ok());
  const auto info = writer.add_item([&]() -> Result<std::unique_ptr<Source>> {
    return std::unique_ptr<Source>(std::make_unique<StringSource>(many));
  });
  ASSERT_TRUE(info.is_ok()) << info.status().to_string();
  EXPECT_EQ(info->envelope.recipients.size(), 250U);
  EXPECT_EQ(writer.messages(), 3U);
  const Parsed parsed = parse(sink.str());
  ASSERT_EQ(parsed.messages.size(), 3U);
  EXPECT_EQ(parsed.messages[0].envelope.recipients.size(), 100U);
  EXPECT_EQ(parsed.messages[1].envelope.recipients.size(), 100U);
  EXPECT_EQ(parsed.messages[2].envelope.recipients.size(), 50U);
  EXPECT_EQ(parsed.messages[2].envelope.recipients[0].address, "r200@y");
  for (const Heard& heard : parsed.messages) {
    EXPECT_EQ(heard.plain, "same text\r\n");
  }
}

TEST(Rfc2442, G5_ObjectBeginsWithEhlo) {
  EXPECT_TRUE(write_batch({item("x\r\n")}).starts_with("EHLO hub.domain.com\r\nMAIL FROM:<"));
}

TEST(Rfc2442, G6_DsnParametersAppearInTheObject) {
  const std::string object =
      write_batch({"MAIL FROM:<a@x> SIZE=3 BODY=8BITMIME RET=HDRS ENVID=QQ1\r\n"
                   "RCPT TO:<b@y> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+40y\r\nDATA\r\nx\r\n.\r\n"});
  EXPECT_NE(object.find("MAIL FROM:<a@x> SIZE=3 BODY=8BITMIME RET=HDRS ENVID=QQ1\r\n"),
            std::string::npos);
  EXPECT_NE(object.find("RCPT TO:<b@y> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+40y\r\n"),
            std::string::npos);
}

TEST(Rfc2442, G7_OtherExtensionsNeedAgreement) {
  const std::string utf8 =
      "MAIL FROM:<j\xC3\xBC@x> SMTPUTF8\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n";
  EXPECT_EQ(write_batch({utf8}), "5.6.7");
  EXPECT_NE(write_batch({utf8}, {.smtputf8 = true}).find("SMTPUTF8"), std::string::npos);
  EXPECT_EQ(write_batch({item("x\r\n", "j\xC3\xBC@x")}), "5.6.7");
  const std::string other = "MAIL FROM:<a@x> MT-PRIORITY=3\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n";
  EXPECT_EQ(write_batch({other}), "5.5.4");
  EXPECT_EQ(write_batch({other}, {.smtputf8 = true}), "5.5.4");
}

TEST(Rfc2442, G8_TheDefaultProfileNeedsNothingMore) {
  StringSink sink;
  Writer writer(sink, {"hub.domain.com", {}});
  StringSource source(
      "MAIL FROM:<a@x> SIZE=3 BODY=8BITMIME RET=FULL\r\nRCPT TO:<b@y> NOTIFY=NEVER\r\n"
      "DATA\r\nx\r\n.\r\n");
  ASSERT_TRUE(writer.begin().is_ok());
  ASSERT_TRUE(writer.add_item(source).is_ok());
  EXPECT_TRUE(writer.requirements().is_default());
}

TEST(Rfc2442, G9_RequiredExtensionsListWhatIsUsed) {
  Requirements requirements;
  EXPECT_EQ(requirements.value(), "8bitMIME,SIZE,NOTARY");
  mail::Envelope envelope;
  envelope.smtputf8 = true;
  ASSERT_TRUE(requirements.add(envelope, {.smtputf8 = true}).is_ok());
  EXPECT_EQ(requirements.value(), "8bitMIME,SIZE,NOTARY,SMTPUTF8");
  EXPECT_FALSE(requirements.is_default());
  // Commas are tspecials: the value must travel as a quoted-string.
  EXPECT_EQ(mail::format_param_value(requirements.value()), "\"8bitMIME,SIZE,NOTARY,SMTPUTF8\"");
}

TEST(Rfc2442, G10_MeaninglessKeywordsFromAPeerAreIgnored) {
  const auto keywords = parse_required_extensions("PIPELINING, 8bitMIME,size,DSN");
  ASSERT_TRUE(keywords.is_ok());
  EXPECT_TRUE(check_required_extensions(*keywords, {}).is_ok());
}

TEST(Rfc2442, G11_OneMessagePerObjectIsPossible) {
  const Parsed parsed = parse(write_batch({item("x\r\n")}));
  ASSERT_TRUE(parsed.status.is_ok());
  EXPECT_EQ(parsed.messages.size(), 1U);
}

TEST(Rfc2442, G12_DsnLengthsAndXtextAreGranted) {
  const std::string envid(100, 'e');
  const std::string orcpt = "rfc822;" + std::string(490, 'o') + "+2B";
  const std::string object =
      batch_of("MAIL FROM:<a@x> ENVID=" + envid + "\r\nRCPT TO:<" + std::string(510, 'r') +
               "> ORCPT=" + orcpt + "\r\nDATA\r\nx\r\n.\r\n");
  const Parsed parsed = parse(object);
  ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
  EXPECT_EQ(parsed.messages[0].envelope.envid, envid);
  EXPECT_EQ(parsed.messages[0].envelope.recipients[0].orcpt, orcpt);  // not decoded
}

TEST(Rfc2442, T1_TheSameObjectIsReadFromAnySource) {
  const std::string object = write_batch({item("one\r\n"), item("two\r\n", "")});
  test::for_each_cutting(object, [&](const test::Chunks& chunks) {
    const Parsed parsed = parse_chunks(chunks);
    ASSERT_TRUE(parsed.status.is_ok());
    ASSERT_EQ(parsed.messages.size(), 2U);
    EXPECT_EQ(parsed.messages[1].plain, "two\r\n");
  });
}

TEST(Rfc2442, T2_EverySenderOfAnObjectCanBeTold) {
  // What a non-delivery report needs is in the object for each transaction.
  const Parsed parsed = parse(write_batch(
      {"MAIL FROM:<a@x> RET=HDRS ENVID=E1\r\nRCPT TO:<b@y> NOTIFY=FAILURE ORCPT=rfc822;o@y\r\n"
       "DATA\r\nx\r\n.\r\n",
       item("y\r\n", "c@x")}));
  ASSERT_EQ(parsed.messages.size(), 2U);
  EXPECT_EQ(parsed.messages[0].envelope.sender, "a@x");
  EXPECT_EQ(parsed.messages[0].envelope.envid, "E1");
  EXPECT_EQ(parsed.messages[0].envelope.recipients[0].orcpt, "rfc822;o@y");
  EXPECT_EQ(parsed.messages[1].envelope.sender, "c@x");
}

TEST(Rfc2442, P1_UnsupportedRequiredExtensionsExecuteNothing) {
  const struct {
    const char* value;
    bool ok;
  } cases[] = {
      {"8bitMIME,SIZE,NOTARY", true}, {"8BITMIME", true},     {"CHUNKING", false},
      {"SIZE,MT-PRIORITY", false},    {"SMTPUTF8", false},    {"", false},
      {"SIZE,,NOTARY", false},        {"SIZE;NOTARY", false}, {"SI ZE", false},
  };
  for (const auto& c : cases) {
    const auto keywords = parse_required_extensions(c.value);
    const bool ok = keywords.is_ok() && check_required_extensions(*keywords, {}).is_ok();
    EXPECT_EQ(ok, c.ok) << c.value;
  }
  EXPECT_TRUE(check_required_extensions({"SMTPUTF8"}, {.smtputf8 = true}).is_ok());
}

TEST(Rfc2442, P2_TheRefusalNamesTheUnsupportedExtension) {
  const Status status = check_required_extensions({"SIZE", "X-FUTURE"}, {});
  EXPECT_TRUE(status.is_permanent());
  EXPECT_NE(status.text().find("X-FUTURE"), std::string::npos);
}

TEST(Rfc2442, P3_AnyGreetingIsAcceptedAlsoRepeated) {
  for (const char* greeting : {"EHLO x", "HELO x", "ehlo [192.0.2.1]", "EHLO odd_name.-x",
                               "EHLO [IPv6:::1]", "HELO x y z", "EHLO  x "}) {
    const Parsed parsed = parse(std::string(greeting) + "\r\n" + item("x\r\n") + "QUIT\r\n");
    EXPECT_TRUE(parsed.status.is_ok()) << greeting;
  }
  const Parsed repeated =
      parse("EHLO a\r\nMAIL FROM:<dropped@x>\r\nEHLO b\r\n" + item("x\r\n") + "QUIT\r\n");
  ASSERT_TRUE(repeated.status.is_ok());
  ASSERT_EQ(repeated.messages.size(), 1U);
  EXPECT_EQ(repeated.messages[0].envelope.sender, "ann@domain.com");
}

TEST(Rfc2442, P4_AnyValidMailFromIsAccepted) {
  for (const char* sender : {"", "ann@domain.com", "\"a b\"@x", "@r1,@r2:u@x", "a%b@c", "u",
                             "u@[192.0.2.1]", "MiXeD@CaSe"}) {
    EXPECT_TRUE(parse(batch_of(item("x\r\n", sender))).status.is_ok()) << sender;
  }
}

TEST(Rfc2442, P5_EveryRecipientIsReportedForItself) {
  const Parsed parsed = parse(
      batch_of("MAIL FROM:<a@x>\r\nRCPT TO:<one@y>\r\nRCPT TO:<two@nowhere>\r\nRCPT TO:<three@y>"
               "\r\nDATA\r\nx\r\n.\r\n"));
  ASSERT_TRUE(parsed.status.is_ok());
  ASSERT_EQ(parsed.messages[0].envelope.recipients.size(), 3U);
  EXPECT_EQ(parsed.messages[0].envelope.recipients[1].address, "two@nowhere");
}

TEST(Rfc2442, P6_AllParametersOfTheThreeExtensionsAreAccepted) {
  for (const char* body : {"", " BODY=7BIT", " BODY=8BITMIME"}) {
    for (const char* ret : {"", " RET=FULL", " RET=HDRS"}) {
      for (const char* notify : {"", " NOTIFY=NEVER", " NOTIFY=SUCCESS", " NOTIFY=FAILURE",
                                 " NOTIFY=DELAY", " NOTIFY=SUCCESS,FAILURE,DELAY"}) {
        const std::string object =
            batch_of(std::string("MAIL FROM:<a@x> SIZE=1 ENVID=e") + body + ret +
                     "\r\nRCPT TO:<b@y> ORCPT=rfc822;b" + notify + "\r\nDATA\r\nx\r\n.\r\n");
        EXPECT_TRUE(parse(object).status.is_ok()) << object;
      }
    }
  }
}

TEST(Rfc2442, P7_DataWithoutRecipientIsConsumed) {
  const Parsed parsed =
      parse(batch_of("MAIL FROM:<a@x>\r\nDATA\r\nnobody's\r\n.\r\n" + item("next\r\n")));
  ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
  ASSERT_EQ(parsed.messages.size(), 2U);
  EXPECT_TRUE(parsed.messages[0].envelope.recipients.empty());
  EXPECT_EQ(parsed.messages[1].plain, "next\r\n");
}

TEST(Rfc2442, P8_EightBitTextIsIdentical) {
  std::string text;
  for (int i = 1; i < 256; ++i) {
    if (i != '\r' && i != '\n') {
      text += static_cast<char>(i);
    }
  }
  text += "\r\n";
  const Parsed parsed = parse(batch_of(item(text)));
  ASSERT_TRUE(parsed.status.is_ok());
  EXPECT_EQ(parsed.messages[0].plain, text);
}

TEST(Rfc2442, P9_RsetDropsOnlyItsTransaction) {
  const Parsed parsed =
      parse(batch_of(item("one\r\n") + "MAIL FROM:<dropped@x>\r\nRCPT TO:<b@y>\r\nRSET\r\n" +
                     item("two\r\n") + "RSET\r\n" + item("three\r\n")));
  ASSERT_TRUE(parsed.status.is_ok());
  ASSERT_EQ(parsed.messages.size(), 3U);
  EXPECT_EQ(parsed.messages[1].plain, "two\r\n");
  EXPECT_EQ(parsed.messages[1].envelope.recipients.size(), 1U);
  EXPECT_EQ(parsed.messages[2].plain, "three\r\n");
}

TEST(Rfc2442, P10_MessagesHaveStableIndexes) {
  // A restart after the last completed message finds it by its index in the same object.
  const std::string object = write_batch({item("a\r\n"), item("b\r\n"), item("c\r\n")});
  const Parsed first = parse(object);
  const Parsed again = parse_chunks(test::cut_every(object, 7));
  ASSERT_EQ(first.messages.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first.messages[i].stuffed, again.messages[i].stuffed);
  }
}

TEST(Rfc2442, P11_AnObjectCutAnywhereIsInvalid) {
  const std::string object = write_batch({item("Subject: a\r\n\r\n..\r\nb\r\n"), item("two\r\n")});
  Parser::Options options;
  options.require_quit = true;
  for (std::size_t n = 0; n + 2 < object.size(); ++n) {  // "QUIT" itself may lack its line end
    EXPECT_FALSE(parse(std::string_view(object).substr(0, n), options).status.is_ok()) << n;
  }
  EXPECT_TRUE(parse(object, options).status.is_ok());
}

TEST(Rfc2442, P12_TheBatchGivesNoAuthorityByItself) {
  // What the batch says about its origin is only its EHLO name, which decides nothing: the same
  // events come out whatever it claims.
  const Parsed one = parse("EHLO hub.domain.com\r\n" + item("x\r\n") + "QUIT\r\n");
  const Parsed two = parse("EHLO impostor\r\n" + item("x\r\n") + "QUIT\r\n");
  ASSERT_EQ(one.messages.size(), two.messages.size());
  EXPECT_EQ(one.messages[0].envelope.sender, two.messages[0].envelope.sender);
}

TEST(Rfc2442, P13_WhatAReportNeedsSurvivesParsing) {
  const Parsed parsed =
      parse(batch_of("MAIL FROM:<> RET=FULL ENVID=a+2Bb\r\nRCPT TO:<b@y> NOTIFY=NEVER "
                     "ORCPT=rfc822;b+40old\r\nDATA\r\nx\r\n.\r\n"));
  ASSERT_TRUE(parsed.status.is_ok());
  const mail::Envelope& envelope = parsed.messages[0].envelope;
  EXPECT_EQ(envelope.sender, "");
  EXPECT_EQ(envelope.ret, "FULL");
  EXPECT_EQ(envelope.envid, "a+2Bb");
  EXPECT_EQ(envelope.recipients[0].notify, "NEVER");
  EXPECT_EQ(envelope.recipients[0].orcpt, "rfc822;b+40old");
}

}  // namespace
}  // namespace bsmtp::batch
