#include "common/smtp/extensions.h"

#include <gtest/gtest.h>

namespace bsmtp::smtp {
namespace {

Reply ehlo(std::vector<std::string> lines) {
  Reply reply;
  reply.code = 250;
  reply.lines = {"mail.example greets you"};
  reply.lines.insert(reply.lines.end(), lines.begin(), lines.end());
  return reply;
}

mail::Envelope envelope_to(const std::string& address) {
  mail::Envelope envelope;
  envelope.sender = "ann@domain.com";
  envelope.recipients.resize(1);
  envelope.recipients[0].address = address;
  return envelope;
}

TEST(Extensions, AreReadInAnyCaseAndTheFirstLineIsAGreeting) {
  const Extensions all = parse_extensions(
      ehlo({"PIPELINING", "size 10240000", "8bitmime", "DSN", "SmtpUtf8", "STARTTLS", ""}));
  EXPECT_TRUE(all.pipelining && all.eightbit && all.dsn && all.smtputf8 && all.size);
  EXPECT_EQ(all.max_size, 10240000U);
  Reply greeting;
  greeting.code = 250;
  greeting.lines = {"PIPELINING"};  // a host of that name
  EXPECT_FALSE(parse_extensions(greeting).pipelining);
}

TEST(Extensions, SizeWithoutAUsableNumberMeansNoLimit) {
  for (const char* line : {"SIZE", "SIZE 0", "SIZE lots", "SIZE -1"}) {
    const Extensions got = parse_extensions(ehlo({line}));
    EXPECT_TRUE(got.size) << line;
    EXPECT_EQ(got.max_size, 0U) << line;
  }
}

TEST(CheckAnnounced, WhatTheServerLacksIsToldApart) {
  Extensions all;
  all.eightbit = all.smtputf8 = all.size = true;
  all.max_size = 100;
  const struct {
    const char* name;
    void (*change)(mail::Envelope&, Extensions&);
    const char* code;
  } cases[] = {
      {"nothing special", [](mail::Envelope&, Extensions&) {}, "2.0.0"},
      {"8BITMIME missing: trouble of ours",
       [](mail::Envelope& e, Extensions& x) {
         e.body = "8BITMIME";
         x.eightbit = false;
       },
       "4.6.3"},
      {"7BIT needs nothing",
       [](mail::Envelope& e, Extensions& x) {
         e.body = "7BIT";
         x.eightbit = false;
       },
       "2.0.0"},
      {"UTF-8 recipient, no SMTPUTF8",
       [](mail::Envelope& e, Extensions& x) {
         e.recipients[0].address =
             "b\xC3\xB6"
             "b@y.org";
         x.smtputf8 = false;
       },
       "5.6.7"},
      {"at the limit", [](mail::Envelope& e, Extensions&) { e.size = 100; }, "2.0.0"},
      {"over it", [](mail::Envelope& e, Extensions&) { e.size = 101; }, "5.3.4"},
      {"no limit",
       [](mail::Envelope& e, Extensions& x) {
         e.size = UINT64_MAX;
         x.max_size = 0;
       },
       "2.0.0"},
      {"a promise that must not be dropped",
       [](mail::Envelope& e, Extensions&) {
         e.recipients[0].other = {{"RRVS", "2014-04-03T23:01:00Z", true}};
       },
       "5.5.4"},
  };
  for (const auto& c : cases) {
    mail::Envelope envelope = envelope_to("bob@y.org");
    Extensions extensions = all;
    c.change(envelope, extensions);
    EXPECT_EQ(check_announced(envelope, extensions, "peer").code(), c.code) << c.name;
  }
}

TEST(AnnouncedOnly, DropsWhatMayBeDropped) {
  mail::Envelope envelope = envelope_to("bob@y.org");
  envelope.size = 5;
  envelope.body = "7BIT";
  envelope.ret = "FULL";
  envelope.envid = "Q1";
  envelope.recipients[0].notify = "FAILURE";
  envelope.recipients[0].orcpt = "rfc822;bob@y.org";
  const mail::Envelope bare = announced_only(envelope, Extensions());
  EXPECT_EQ(*mail::format_mail(bare), "MAIL FROM:<ann@domain.com>");
  EXPECT_EQ(*mail::format_rcpt(bare.recipients[0]), "RCPT TO:<bob@y.org>");
  Extensions all;
  all.eightbit = all.dsn = all.size = true;
  const mail::Envelope whole = announced_only(envelope, all);
  EXPECT_EQ(*mail::format_mail(whole), *mail::format_mail(envelope));
  EXPECT_EQ(*mail::format_rcpt(whole.recipients[0]), *mail::format_rcpt(envelope.recipients[0]));
}

}  // namespace
}  // namespace bsmtp::smtp
