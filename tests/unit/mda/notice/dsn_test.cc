#include "mda/notice/dsn.h"

#include <gtest/gtest.h>

#include "common/mail/address.h"
#include "mda/notice/back_off.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {
namespace {

DsnRequest request() {
  DsnRequest r;
  r.reporting_mta = "hub.domain.com";
  r.postmaster = "postmaster@hub.domain.com";
  r.envelope.sender = "ann@domain.co.uk";
  r.notice_id = "00";
  DsnRecipient recipient;
  recipient.recipient.address = "bob@domain.com";
  recipient.status = "5.1.1";
  recipient.reason = "no such user";
  r.recipients.push_back(recipient);
  r.original_header = "Subject: x\r\n";
  return r;
}

TEST(WantsNoticeTest, FollowsNotify) {
  using K = NoticeKind;
  const struct {
    const char* notify;
    bool failure, delay, relayed;
  } cases[] = {{"", true, true, false},
               {"NEVER", false, false, false},
               {"never", false, false, false},
               {"FAILURE", true, false, false},
               {"success,delay", false, true, true},
               {"SUCCESS,FAILURE,DELAY", true, true, true}};
  for (const auto& c : cases) {
    EXPECT_EQ(wants_notice(c.notify, K::kFailure), c.failure) << c.notify;
    EXPECT_EQ(wants_notice(c.notify, K::kDelay), c.delay) << c.notify;
    EXPECT_EQ(wants_notice(c.notify, K::kRelayed), c.relayed) << c.notify;
    EXPECT_EQ(wants_notice(c.notify, K::kUnknown), c.failure) << c.notify;
  }
}

TEST(FormatDsnTest, TheMessageThatComesBackCannotHoldTheDelimiter) {
  DsnRequest r = request();
  r.full = true;
  const auto delimiter = [&r] {
    const std::string text = *format_dsn(r);
    const std::size_t at = text.find("boundary=\"") + 10;
    return "--" + text.substr(at, text.find('"', at) - at);
  };
  const std::string first = delimiter();
  EXPECT_EQ(delimiter(), first);  // written again, it is the same notice
  r.original_header = "Subject: x\r\n" + first + "\r\n";
  EXPECT_NE(delimiter(), first);
  r.original_header = "Subject: x\r\n";
  r.original_body = first + "--\r\n";
  EXPECT_NE(delimiter(), first);
}

TEST(FormatDsnTest, NeverForTheNullSender) {
  DsnRequest r = request();
  r.envelope.sender = "";
  EXPECT_TRUE(format_dsn(r).status().is_permanent());
}

TEST(FormatDsnTest, AnUnknownOutcomeIsNotCalledAFailureInWords) {
  DsnRequest r = request();
  r.kind = NoticeKind::kUnknown;
  r.recipients[0].status = "4.4.0";
  const std::string text = format_dsn(r).value();
  EXPECT_NE(text.find("\r\nSubject: Mail whose fate is not known\r\n"), std::string::npos);
  EXPECT_NE(text.find("\r\nAction: failed\r\nStatus: 4.4.0\r\n"), std::string::npos);
  EXPECT_NE(text.find("It may have been delivered or not."), std::string::npos);
  EXPECT_EQ(text.find("could not be delivered"), std::string::npos);
  EXPECT_EQ(notice_kind_name(r.kind), "unknown");
}

TEST(FormatDsnTest, RemoteTextCannotAddFields) {
  DsnRequest r = request();
  r.recipients[0].diagnostic = "550 x\r\nAction: delivered\r\n\r\n--=_dsn_00";
  const std::string text = format_dsn(r).value();
  EXPECT_EQ(text.find("\r\nAction: delivered"), std::string::npos);
  EXPECT_EQ(text.find('\0'), std::string::npos);
}

TEST(FormatDsnTest, AddressesAreNamedExactly) {
  const std::string long_local(64, 'x');
  const std::string long_quoted = "\"" + std::string(50, 'a') + "  b \\\" c\"@sub.domain.com";
  const struct {
    const char* name;
    std::string address, line;
    std::string sender = "ann@domain.co.uk";
  } cases[] = {
      {"plain", "bob@domain.com", "rfc822; bob@domain.com"},
      {"two blanks, longer than a line", long_quoted, "rfc822; " + long_quoted},
      {"long", long_local + "@domain.com", "rfc822; " + long_local + "@domain.com"},
      {"UTF-8", "j\u00F6rg+a@domain.com", "utf-8; j\\x{F6}rg\\x{2B}a@domain.com"},
      {"UTF-8, and the reader's address too", "j\u00F6rg+a@domain.com",
       "utf-8; j\u00F6rg+a@domain.com", "\u00E4nn@domain.co.uk"},
      {"a character that must not reach a terminal", "a\u202E+\u00F6@domain.com",
       "utf-8; a\\x{202E}\\x{2B}\u00F6@domain.com", "\u00E4nn@domain.co.uk"},
      {"what looks like an encoding", "\"\\x{2B}\u00F6\"@domain.com",
       "utf-8; \"\\x{5C}x{2B}\u00F6\"@domain.com", "\u00E4nn@domain.co.uk"},
      {"line end", "a\r\nAction: x@domain.com", "rfc822; a??Action: x@domain.com"},
  };
  for (const auto& c : cases) {
    DsnRequest r = request();
    r.recipients[0].recipient.address = c.address;
    r.envelope.sender = c.sender;
    const std::string text = format_dsn(r).value();
    EXPECT_NE(text.find("\r\nFinal-Recipient: " + c.line + "\r\n"), std::string::npos)
        << c.name << "\n"
        << text;
  }
  DsnRequest r = request();
  r.recipients[0].recipient.orcpt = "utf-8;a\\x{2B}\u202Eb@domain.com";
  r.envelope.smtputf8 = true;
  EXPECT_NE(format_dsn(r)->find("\r\nOriginal-Recipient: utf-8; a\\x{2B}\\x{202E}b@domain.com\r\n"),
            std::string::npos);
}

// The MTA that has to carry a notice may be the one that could not carry the message.
TEST(FormatDsnTest, OnlyAReaderBeyondAsciiMakesTheNoticeSmtputf8) {
  DsnRequest r = request();
  r.envelope.smtputf8 = true;
  r.recipients[0].recipient.address = "j\u00F6rg@domain.com";
  r.recipients[0].diagnostic = "550 5.6.7 j\u00F6rg: no";
  r.original_header = "Subject: Gr\u00FC\u00DFe\r\n";
  EXPECT_FALSE(dsn_envelope(r).smtputf8);
  EXPECT_EQ(dsn_envelope(r).body, "8BITMIME");
  const std::string text = format_dsn(r).value();
  const std::size_t status = text.find("Content-Type: message/delivery-status\r\n");
  const std::size_t header = text.find("Content-Type: message/global-headers\r\n");
  ASSERT_NE(status, std::string::npos) << text;
  ASSERT_NE(header, std::string::npos) << text;
  EXPECT_TRUE(mail::is_ascii(text.substr(0, text.find("\r\n\r\n"))));
  EXPECT_TRUE(mail::is_ascii(text.substr(status, header - status))) << text;

  r.envelope.sender = "\u00E4nn@domain.co.uk";
  EXPECT_TRUE(dsn_envelope(r).smtputf8);
  EXPECT_NE(format_dsn(r)->find("Content-Type: message/global-delivery-status\r\n"),
            std::string::npos);
}

TEST(FormatDsnTest, EnvelopeIsNullWithNotifyNever) {
  const mail::Envelope envelope = dsn_envelope(request());
  EXPECT_EQ(envelope.sender, "");
  EXPECT_EQ(envelope.ret, "");
  ASSERT_EQ(envelope.recipients.size(), 1U);
  EXPECT_EQ(envelope.recipients[0].address, "ann@domain.co.uk");
  EXPECT_EQ(envelope.recipients[0].notify, "NEVER");
}

TEST(TakeOriginalTest, HeaderOrWhole) {
  const std::string text = "Subject: x\r\nTo: y\r\n\r\nbody\r\n";
  const struct {
    const char* name;
    const char* ret;
    std::uint64_t cap;
    bool full;
  } cases[] = {{"full", "FULL", 1000, true},
               {"over the cap", "FULL", 10, false},
               {"headers", "HDRS", 1000, false},
               {"not said", "", 1000, false}};
  for (const auto& c : cases) {
    DsnRequest r = request();
    r.envelope.ret = c.ret;
    StringSource source(text);
    ASSERT_TRUE(take_original(source, text.size(), c.cap, r).is_ok());
    EXPECT_EQ(r.full, c.full) << c.name;
    EXPECT_EQ(r.original_header, "Subject: x\r\nTo: y\r\n") << c.name;
    EXPECT_EQ(r.original_body, c.full ? "body\r\n" : "") << c.name;
  }
}

TEST(TakeOriginalTest, OddShapes) {
  for (const std::string text : {"", "\r\n", "\r\nbody\r\n", "no colon, no end\r\n"}) {
    DsnRequest r = request();
    StringSource source(text);
    EXPECT_TRUE(take_original(source, text.size(), 1000, r).is_ok()) << text;
    EXPECT_TRUE(format_dsn(r).is_ok()) << text;
  }
}

TEST(NoticeIdTest, PartsCannotRunTogether) {
  EXPECT_EQ(notice_id({"a", "b"}).size(), 44U);
  EXPECT_EQ(notice_id({"a", "b"}), notice_id({"a", "b"}));
  EXPECT_NE(notice_id({"ab", ""}), notice_id({"a", "b"}));
}

TEST(BackOffTest, DoublesUpToTheMaximum) {
  using std::chrono::seconds;
  const int expected[] = {60, 60, 120, 240, 480, 960, 1920, 3600, 3600};
  for (std::uint64_t n = 0; n < 9; ++n) {
    EXPECT_EQ(back_off(n, seconds(60), seconds(3600)), seconds(expected[n])) << n;
  }
  EXPECT_EQ(back_off(1000000, seconds(60), seconds(3600)), seconds(3600));
}

}  // namespace
}  // namespace bsmtp::mda
