#include "common/mail/address.h"

#include <gtest/gtest.h>

namespace bsmtp::mail {
namespace {

struct ParseCase {
  const char* name;
  std::string address;
  std::string local;
  std::string domain;
};

TEST(ParseMailbox, ReadsWhatRfc5321Allows) {
  const ParseCase cases[] = {
      {"plain", "ann@domain.com", "ann", "domain.com"},
      {"case kept", "Ann@Domain.COM", "Ann", "Domain.COM"},
      {"trailing dot dropped", "ann@domain.com.", "ann", "domain.com"},
      {"source route stripped", "@a.b,@c.d:ann@domain.com", "ann", "domain.com"},
      {"route through an IPv6 literal", "@[IPv6:::1]:ann@domain.com", "ann", "domain.com"},
      {"quoted blank", "\"a b\"@x.org", "a b", "x.org"},
      {"quoted at sign", "\"a@b\"@x.org", "a@b", "x.org"},
      {"quoted pair", "\"a\\\"b\\\\c\"@x.org", "a\"b\\c", "x.org"},
      {"needless quotes", "\"ann\"@x.org", "ann", "x.org"},
      {"percent hack", "ann%inner.org@x.org", "ann%inner.org", "x.org"},
      {"bang path", "host!ann@x.org", "host!ann", "x.org"},
      {"subaddress", "ann+tag@x.org", "ann+tag", "x.org"},
      {"UTF-8",
       "j\xC3\xBCrgen@b\xC3\xBC"
       "cher.example",
       "j\xC3\xBCrgen",
       "b\xC3\xBC"
       "cher.example"},
      {"IPv4 literal", "ann@[192.0.2.1]", "ann", "[192.0.2.1]"},
      {"IPv6 literal", "ann@[IPv6:2001:db8::1]", "ann", "[IPv6:2001:db8::1]"},
      {"bare local part", "postmaster", "postmaster", ""},
      {"underscore in the domain", "ann@my_host.x.org", "ann", "my_host.x.org"},
      {"long local part (SRS)", std::string(100, 'a') + "@x.org", std::string(100, 'a'), "x.org"},
  };
  for (const ParseCase& c : cases) {
    SCOPED_TRACE(c.name);
    const auto mailbox = parse_mailbox(c.address);
    ASSERT_TRUE(mailbox.is_ok()) << mailbox.status().to_string();
    EXPECT_EQ(mailbox->local, c.local);
    EXPECT_EQ(mailbox->domain, c.domain);
    const auto again = parse_mailbox(format_mailbox(*mailbox));
    ASSERT_TRUE(again.is_ok()) << format_mailbox(*mailbox);
    EXPECT_EQ(*again, *mailbox);
  }
}

TEST(ParseMailbox, RefusesWithTheReason) {
  const struct {
    const char* name;
    std::string address;
    const char* says;
  } cases[] = {
      {"empty", "", "empty"},
      {"no local part", "@x.org", "source route"},
      {"route behind a route", "@a:@b:ann@x.org", "source route"},
      {"empty quoted local part", "\"\"@x.org", "no user"},
      {"no domain after @", "ann@", "no domain"},
      {"only a dot as domain", "ann@.", "no domain"},
      {"two dots in the local part", "a..b@x.org", "quote it"},
      {"leading dot", ".a@x.org", "quote it"},
      {"blank unquoted", "a b@x.org", "quote it"},
      {"two at signs", "a@b@x.org", "quote it"},
      {"quote not closed", "\"a@x.org", "quote it"},
      {"text behind the quotes", "\"a\"b@x.org", "quote it"},
      {"empty label", "ann@x..org", "no domain"},
      {"label of 64 octets", "ann@" + std::string(64, 'x') + ".org", "no domain"},
      {"hyphen at a label's start", "ann@-x.org", "no domain"},
      {"blank in the domain", "ann@x .org", "no domain"},
      {"open literal", "ann@[192.0.2.1", "no domain"},
      {"bracket in a literal", "ann@[x>y]", "no domain"},
      {"line feed", "ann\n@x.org", "control"},
      {"NUL", std::string("ann\0@x.org", 10), "control"},
      {"Latin-1 octet", "j\xFCrgen@x.org", "UTF-8"},
      {"overlong UTF-8", "j\xC0\xAFn@x.org", "UTF-8"},
      {"C1 control", "j\xC2\x85n@x.org", "UTF-8"},
      {"too long in all", std::string(600, 'a') + "@" + std::string(300, 'b'), "too long"},
      {"local part too long", std::string(513, 'a') + "@x.org", "too long"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto mailbox = parse_mailbox(c.address);
    ASSERT_FALSE(mailbox.is_ok());
    EXPECT_TRUE(mailbox.status().is_permanent());
    EXPECT_EQ(mailbox.status().code(), "5.1.3");
    EXPECT_NE(mailbox.status().text().find(c.says), std::string::npos) << mailbox.status().text();
  }
}

TEST(ParseMailbox, KeepsTheRfcLimitsWhenAsked) {
  const std::string local64(64, 'a');
  EXPECT_TRUE(parse_mailbox(local64 + "@x.org", kRfcAddressLimits).is_ok());
  EXPECT_FALSE(parse_mailbox(local64 + "a@x.org", kRfcAddressLimits).is_ok());
}

TEST(QuoteLocal, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(quote_local("ann"), "ann");
  EXPECT_EQ(quote_local("a.b+c"), "a.b+c");
  EXPECT_EQ(quote_local("a b"), "\"a b\"");
  EXPECT_EQ(quote_local("a..b"), "\"a..b\"");
  EXPECT_EQ(quote_local("a\"\\"), "\"a\\\"\\\\\"");
  EXPECT_EQ(quote_local(""), "\"\"");
}

TEST(SplitAddress, FindsTheLastAtOutsideQuotes) {
  const AddressParts quoted = split_address("\"a@b\\\"@c\"@d.org");
  EXPECT_EQ(quoted.local, "\"a@b\\\"@c\"");
  EXPECT_EQ(quoted.domain, "d.org");
  EXPECT_TRUE(quoted.has_at);
  const AddressParts open = split_address("\"a@d.org");
  EXPECT_EQ(open.local, "\"a");
  EXPECT_EQ(open.domain, "d.org");
  EXPECT_FALSE(split_address("ann").has_at);
  EXPECT_TRUE(split_address("ann@").has_at);
}

TEST(IsSafePath, KeepsCommandsWhole) {
  EXPECT_TRUE(is_safe_path(""));
  EXPECT_TRUE(is_safe_path("ann@x.org"));
  EXPECT_TRUE(is_safe_path("\"a b>c\"@x.org"));
  for (const char* bad : {"a b@x.org", "a>@x.org", "<a@x.org", "\"a@x.org", "a\r\nRCPT@x.org",
                          "\"a\\", "a\\b@x.org", "\x01@x", "\xFF@x"}) {
    EXPECT_FALSE(is_safe_path(bad)) << bad;
  }
}

TEST(DomainMatches, KnowsThreePatternForms) {
  const struct {
    const char* domain;
    const char* pattern;
    bool match;
  } cases[] = {
      {"domain.com", "domain.com", true},
      {"Domain.COM.", "domain.com", true},
      {"a.domain.com", "domain.com", false},
      {"a.domain.com", ".domain.com", true},
      {"a.b.domain.com", ".domain.com", true},
      {"domain.com", ".domain.com", false},
      {"xdomain.com", ".domain.com", false},
      {"xdomain.com", "domain.com", false},
      {"anything", "*", true},
      {"", "*", true},
      {"[192.0.2.1]", "*", true},
      {"", "domain.com", false},
      {"a.domain.com", "", false},
      {".domain.com", ".domain.com", false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(domain_matches(c.domain, c.pattern), c.match) << c.domain << " ~ " << c.pattern;
  }
  EXPECT_TRUE(domain_matches_any("x.y", {"a.b", ".y"}));
  EXPECT_FALSE(domain_matches_any("x.y", {}));
}

}  // namespace
}  // namespace bsmtp::mail
