// Which rule an address meets: probe order, identical patterns, and what a look-up costs.
#include <gtest/gtest.h>

#include <vector>

#include "common/rewrite/engine.h"
#include "tests/unit/common/rewrite/rewrite_fixture.h"

namespace bsmtp::rewrite {
namespace {

using testing::ask;
using testing::kSeedRules;
using testing::probes;
using testing::rules_of;
using testing::verdict;

TEST(Engine, ProbeOrderOfADomain) {
  Trace trace;
  ask(*rules_of("nothing.example $U@TCP-DAEMON"), "u@sc.cs.example.com", kChannelSmtp, &trace);
  EXPECT_EQ(probes(trace),
            (std::vector<std::string>{"$*", "sc.cs.example.com", "*.cs.example.com",
                                      ".cs.example.com", "*.*.example.com", ".example.com",
                                      "*.*.*.com", ".com", "*.*.*.*", "."}));
  EXPECT_EQ(trace.lookups, 10U);
}

TEST(Engine, ProbeOrderOfALiteral) {
  Trace trace;
  const auto rules = rules_of("nothing.example $U@TCP-DAEMON");
  ask(*rules, "u@[128.6.3.4]", kChannelSmtp, &trace);
  EXPECT_EQ(probes(trace), (std::vector<std::string>{"$*", "[128.6.3.4]", "[128.6.3.]", "[128.6.]",
                                                     "[128.]", "[]", "[*.*.*.*]", "."}));
  Trace six;
  ask(*rules, "u@[IPv6:2001:db8::1]", kChannelSmtp, &six);
  EXPECT_EQ(probes(six), (std::vector<std::string>{"$*", "[IPv6:2001:db8::1]", "[]", "."}));
}

TEST(Engine, EveryProbeFindsItsRule) {
  const struct {
    const char* pattern;
    const char* address;
    const char* unmatched;  // $H
    const char* matched;    // $D
  } rows[] = {
      {"a.b.com", "u@a.b.com", "", "a.b.com"},
      {"*.b.com", "u@a.b.com", "a", ".b.com"},
      {".b.com", "u@a.b.com", "a", ".b.com"},
      {"*.*.com", "u@a.b.com", "a.b", ".com"},
      {".com", "u@a.b.com", "a.b", ".com"},
      {"*.*.*", "u@a.b.com", "a.b.com", ""},
      {".", "u@a.b.com", "a.b.com", "."},
      {"$*", "u@a.b.com", "a.b.com", ""},
      {"*", "u@a", "a", ""},
      {"[1.2.3.4]", "u@[1.2.3.4]", "", "[1.2.3.4]"},
      {"[1.2.3.]", "u@[1.2.3.4]", "4", "1.2.3."},
      {"[1.]", "u@[1.2.3.4]", "2.3.4", "1."},
      {"[]", "u@[1.2.3.4]", "[1.2.3.4]", ""},
      {"[*.*.*.*]", "u@[1.2.3.4]", "[1.2.3.4]", ""},
      {"$%", "u%a.b", "a.b", ""},
      {"$!", "a.b!u", "a.b", ""},
  };
  for (const auto& row : rows) {
    // The host part shows $H and $D; the letters keep it from being empty or ending in a dot.
    const auto rules = rules_of(std::string(row.pattern) + " $U%h$H|$Dx@TCP-DAEMON");
    EXPECT_EQ(ask(*rules, row.address).rewritten_domain,
              std::string("h") + row.unmatched + "|" + row.matched + "x")
        << row.pattern;
  }
}

TEST(Engine, DotPatternDoesNotMatchTheBareDomain) {
  EXPECT_EQ(verdict(ask(*rules_of(".domain.co.uk $U%$H$D@BSOUT-REMOTE1"), "u@domain.co.uk")),
            "leave");
}

TEST(Engine, MatchAllComesAfterTheChannelTable) {
  const auto rules = rules_of(". $U%$H@BSOUT-REMOTE1");
  EXPECT_EQ(verdict(ask(*rules, "u@any.where")), "divert u%any.where@remote1.bsmtp.invalid");
  EXPECT_EQ(verdict(ask(*rules, "u@hub.domain.com")), "leave");  // this host
  EXPECT_EQ(verdict(ask(*rules, "u@domain.com")), "leave");      // its own domain
  EXPECT_EQ(verdict(ask(*rules, "u@mailhub.example.com")), "leave");
  EXPECT_EQ(verdict(ask(*rules, "u@BSOUT-REMOTE1")), "leave");  // a tag is no mail domain
}

TEST(Engine, DollarStarComesBeforeEverything) {
  const auto rules = rules_of("a.b $U%$H@BSOUT-REMOTE1\n$* $U%$H@BSOUT-REMOTE2\n");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b")), "divert u%a.b@remote2.bsmtp.invalid");
}

TEST(Engine, IdenticalPatternsFirstThatDoesNotFailWins) {
  const auto rules = rules_of(
      "a.b $U%$H@BSOUT-REMOTE1$Nl\n"
      "A.B $U%$H@BSOUT-REMOTE2$Ntcp_auth\n"
      ".b  $U%$H$D@TCP-DAEMON\n");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b", "tcp_local")), "divert u%a.b@remote1.bsmtp.invalid");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b", "l")), "divert u%a.b@remote2.bsmtp.invalid");
  const auto all_fail = rules_of(
      "a.b $U%$H@BSOUT-REMOTE1$Nl\n"
      "a.b $U%$H@BSOUT-REMOTE2$Nl\n"
      ".b  $U%$H$D@TCP-DAEMON\n");
  EXPECT_EQ(ask(*all_fail, "u@a.b", "l").routing_system, "TCP-DAEMON");
}

TEST(Engine, CaseOfTheAddressIsKept) {
  const Decision d = ask(*rules_of(kSeedRules), "<UsEr+Tag@Host.DOMAIN.Co.UK>");
  EXPECT_EQ(d.diverted, "UsEr+Tag%Host.DOMAIN.Co.UK@remote1.bsmtp.invalid");
}

TEST(Engine, TrailingDotIsIgnored) {
  EXPECT_EQ(verdict(ask(*rules_of(kSeedRules), "<u@domain.co.uk.>")),
            "divert u%domain.co.uk@remote1.bsmtp.invalid");
}

// Cost: hash look-ups only, the same number whatever the number of rules.
TEST(Engine, NumberOfLookUpsDoesNotDependOnTheNumberOfRules) {
  std::string text(kSeedRules);
  Trace small;
  ask(*rules_of(text), "u@a.b.c.domain.co.uk", kChannelSmtp, &small);
  for (int i = 0; i < 20000; ++i) {
    text += "d" + std::to_string(i) + ".example $U%$H@BSOUT-REMOTE2\n";
  }
  const auto rules = rules_of(text);
  EXPECT_EQ(rules->size(), 20002U);
  Trace big;
  ask(*rules, "u@a.b.c.domain.co.uk", kChannelSmtp, &big);
  EXPECT_EQ(big.lookups, small.lookups);
  Trace miss;
  const Decision d = ask(*rules, "u@d19999.example.", kChannelSmtp, &miss);
  EXPECT_EQ(d.kind, Kind::kDivert);
  EXPECT_LE(miss.lookups, 2U * 2 + 6);
}

// --- forms --------------------------------------------------------------------------------------

}  // namespace
}  // namespace bsmtp::rewrite
