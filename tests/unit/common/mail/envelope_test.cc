#include "common/mail/envelope.h"

#include <gtest/gtest.h>

#include <string>

namespace bsmtp::mail {
namespace {

TEST(ParseMail, ReadsEveryParameterOfTheDefaultExtensions) {
  const auto envelope = parse_mail(
      " <ann@domain.com> SIZE=2310 body=8bitmime RET=hdrs ENVID=QQ+2B314159 SMTPUTF8 "
      "MT-PRIORITY=3");
  ASSERT_TRUE(envelope.is_ok()) << envelope.status().to_string();
  EXPECT_EQ(envelope->sender, "ann@domain.com");
  EXPECT_EQ(envelope->size, 2310U);
  EXPECT_EQ(envelope->body, "8BITMIME");
  EXPECT_EQ(envelope->ret, "HDRS");
  EXPECT_EQ(envelope->envid, "QQ+2B314159");
  EXPECT_TRUE(envelope->smtputf8);
  ASSERT_EQ(envelope->other.size(), 1U);
  EXPECT_EQ(envelope->other[0].keyword, "MT-PRIORITY");
  EXPECT_EQ(envelope->other[0].value, "3");
  EXPECT_EQ(*format_mail(*envelope),
            "MAIL FROM:<ann@domain.com> SIZE=2310 BODY=8BITMIME RET=HDRS ENVID=QQ+2B314159 "
            "SMTPUTF8 MT-PRIORITY=3");
}

TEST(ParseMail, DigitsOfXtextBecomeUpperCase) {
  const std::string mail = format_mail(*parse_mail("<a+2b@x> ENVID=a+2bb+C3+aF+ac")).value();
  EXPECT_EQ(mail, "MAIL FROM:<a+2b@x> ENVID=a+2Bb+C3+AF+AC");
  EXPECT_EQ(parse_rcpt("<b@x> ORCPT=rfc822;a+2bb+3d@x")->orcpt, "rfc822;a+2Bb+3D@x");
  EXPECT_EQ(parse_rcpt("<b@x> ORCPT=UTF-8;a\\x{fc}+ab@x")->orcpt, "UTF-8;a\\x{fc}+ab@x")
      << "no xtext";
  Recipient given;
  ASSERT_TRUE(apply_rcpt_params({"ORCPT=x400;+c3+Bc"}, given).is_ok());
  EXPECT_EQ(given.orcpt, "x400;+C3+BC");
  EXPECT_EQ(upper_xtext("+"), "+");
  EXPECT_EQ(upper_xtext("a+f"), "a+F");
}

TEST(ParseMail, ReadsPaths) {
  EXPECT_EQ(parse_mail("<>")->sender, "");
  EXPECT_EQ(parse_mail("<@a,@b:ann@x.org>")->sender, "ann@x.org");
  EXPECT_EQ(parse_mail("<\"a> b\"@x.org>")->sender, "\"a> b\"@x.org");
  EXPECT_EQ(parse_mail("\t<Ann@X.org>  ")->sender, "Ann@X.org");
}

TEST(ParseMail, RefusesWhatCouldMeanSomethingElse) {
  const struct {
    const char* name;
    std::string arguments;
  } cases[] = {
      {"no brackets", "ann@x.org"},
      {"open bracket", "<ann@x.org"},
      {"text behind the bracket", "<ann@x.org>SIZE=1"},
      {"blank in the path", "<ann @x.org>"},
      {"bracket in the path", "<ann<@x.org>"},
      {"carriage return", "<ann\r@x.org>"},
      {"NUL", std::string("<a\0@x.org>", 10)},
      {"Latin-1", "<j\xFCrgen@x.org>"},
      {"route without address", "<@a,@b>"},
      {"route behind a route", "<@a:@b:ann@x.org>"},
      {"SIZE twice", "<a@x> SIZE=1 SIZE=1"},
      {"RET twice", "<a@x> RET=FULL ret=HDRS"},
      {"unknown parameter twice", "<a@x> FOO=1 foo=2"},
      {"SIZE no number", "<a@x> SIZE=1k"},
      {"SIZE overflow", "<a@x> SIZE=99999999999999999999"},
      {"SIZE without value", "<a@x> SIZE"},
      {"BODY unknown", "<a@x> BODY=BINARYMIME"},
      {"RET unknown", "<a@x> RET=ALL"},
      {"ENVID no xtext", "<a@x> ENVID=a+2"},
      {"ENVID over 100 octets", "<a@x> ENVID=" + std::string(101, 'x')},
      {"SMTPUTF8 with a value", "<a@x> SMTPUTF8=1"},
      {"empty value", "<a@x> FOO="},
      {"two equal signs", "<a@x> FOO=a=b"},
      {"bad keyword", "<a@x> F_O=1"},
      {"control in a value", "<a@x> FOO=\x01"},
      {"line over the limit", "<a@x> FOO=" + std::string(2100, 'x')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto envelope = parse_mail(c.arguments);
    ASSERT_FALSE(envelope.is_ok());
    EXPECT_TRUE(envelope.status().is_permanent());
  }
}

TEST(ParseRcpt, ReadsDsnParameters) {
  const auto recipient =
      parse_rcpt("<bob@domain.co.uk> NOTIFY=failure,DELAY ORCPT=rfc822;bob+40domain.co.uk");
  ASSERT_TRUE(recipient.is_ok());
  EXPECT_EQ(recipient->address, "bob@domain.co.uk");
  EXPECT_EQ(recipient->notify, "FAILURE,DELAY");
  EXPECT_EQ(recipient->orcpt, "rfc822;bob+40domain.co.uk");
  EXPECT_EQ(*format_rcpt(*recipient),
            "RCPT TO:<bob@domain.co.uk> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob+40domain.co.uk");
  EXPECT_TRUE(parse_rcpt("<b@x> ORCPT=utf-8;j\xC3\xBCrgen@x").is_ok());
}

TEST(ParseRcpt, GrantsTheLengthsOfRfc3461) {
  const std::string orcpt500 = "rfc822;" + std::string(493, 'x');
  EXPECT_TRUE(parse_rcpt("<b@x> ORCPT=" + orcpt500).is_ok());
  EXPECT_FALSE(parse_rcpt("<b@x> ORCPT=" + orcpt500 + "x").is_ok());
  EXPECT_FALSE(parse_rcpt("<b@x> ORCPT=" + orcpt500 + "xx", 501).is_ok());
  const auto longer = parse_rcpt("<b@x> ORCPT=" + orcpt500 + "x", 501);
  ASSERT_TRUE(longer.is_ok());
  EXPECT_FALSE(format_rcpt(*longer).is_ok());  // whoever asked for it drops or shortens it
  EXPECT_TRUE(parse_mail("<a@x> ENVID=" + std::string(100, 'x')).is_ok());
  // A command line of 1036 octets with its CRLF (RFC 3461 5).
  const std::string address = std::string(1036 - 2 - 11 - 511, 'a');
  const std::string line = "<" + address + "> ORCPT=" + orcpt500;
  EXPECT_TRUE(parse_rcpt(line).is_ok());
}

TEST(ParseRcpt, RefusesMalformedParameters) {
  for (const char* bad :
       {"<>", "<b@x> NOTIFY=NEVER,DELAY", "<b@x> NOTIFY=", "<b@x> NOTIFY=SOON",
        "<b@x> NOTIFY=DELAY,DELAY", "<b@x> ORCPT=rfc822", "<b@x> ORCPT=;x", "<b@x> ORCPT=rfc822;",
        "<b@x> ORCPT=rfc822;a+4", "<b@x> ORCPT=rfc822;a ORCPT=rfc822;a"}) {
    EXPECT_FALSE(parse_rcpt(bad).is_ok()) << bad;
  }
}

TEST(FormatMail, WritesNoInjection) {
  for (const char* sender : {"a@x>\r\nRCPT TO:<evil@y", "a b@x", "a>@x", "a\n@x", "\"a@x"}) {
    Envelope envelope;
    envelope.sender = sender;
    const auto line = format_mail(envelope);
    ASSERT_FALSE(line.is_ok()) << sender;
    EXPECT_EQ(line.status().code(), "5.1.7");
    Recipient recipient;
    recipient.address = sender;
    EXPECT_EQ(format_rcpt(recipient).status().code(), "5.1.3");
  }
  Envelope envelope;
  envelope.envid = "x\r\nDATA";
  EXPECT_FALSE(format_mail(envelope).is_ok());
  envelope.envid.clear();
  envelope.other.push_back({"FOO", "a b", true});
  EXPECT_FALSE(format_mail(envelope).is_ok());
  Recipient recipient;
  recipient.address = "b@x";
  recipient.orcpt = "rfc822;a b";
  EXPECT_FALSE(format_rcpt(recipient).is_ok());
}

TEST(Xtext, RoundTripsEveryOctet) {
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
  }
  const std::string coded = to_xtext(all);
  EXPECT_TRUE(is_xtext(coded));
  EXPECT_EQ(*from_xtext(coded), all);
  EXPECT_EQ(to_xtext("a+b=c d"), "a+2Bb+3Dc+20d");
  EXPECT_FALSE(from_xtext("a b").is_ok());
  EXPECT_FALSE(is_xtext("+2"));
  EXPECT_FALSE(is_xtext("a=b"));
  EXPECT_TRUE(is_xtext(""));
}

TEST(ApplyParams, TakesWhatAMilterGets) {
  Envelope envelope;
  ASSERT_TRUE(apply_mail_params({"SIZE=5", "RET=FULL"}, envelope).is_ok());
  EXPECT_EQ(envelope.size, 5U);
  EXPECT_FALSE(apply_mail_params({"SIZE=5"}, envelope).is_ok());
  Recipient recipient;
  ASSERT_TRUE(apply_rcpt_params({"NOTIFY=NEVER"}, recipient).is_ok());
  EXPECT_EQ(recipient.notify, "NEVER");
}

}  // namespace
}  // namespace bsmtp::mail
