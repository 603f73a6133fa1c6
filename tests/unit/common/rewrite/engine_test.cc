// The rules as a whole: the documents' examples, tags, forms, bounds, what is never diverted.
#include "common/rewrite/engine.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/common/rewrite/rewrite_fixture.h"

namespace bsmtp::rewrite {
namespace {

using testing::ask;
using testing::hub_options;
using testing::kSeedRules;
using testing::probes;
using testing::rules_of;
using testing::verdict;

// --- the manual's example 2-1 -------------------------------------------------------------------

constexpr const char* kManualRules =
    "sc                $U@sc.cs.cmu.edu\n"
    "sc1               $U@sc1.cs.cmu.edu\n"
    "sc2               $U@sc2.cs.cmu.edu\n"
    "*                 $U%$&0.cs.cmu.edu\n"
    "*.cs              $U%$&0.cs.cmu.edu\n"
    "*.cs.cmu          $U%$&0.cs.cmu.edu\n"
    "*.cs.cmu.edu      $U%$&0.cs.cmu.edu@ds.adm.cmu.edu\n"
    "sc.cs.cmu.edu     $U@$D\n"
    "sc1.cs.cmu.edu    $U@$D\n"
    "sc2.cs.cmu.edu    $U@$D\n"
    "sd.cs.cmu.edu     $U@sd.cs.cmu.edu\n"
    ".cmu.edu          $U%$H.cmu.edu@cds.adm.cmu.edu\n"
    ".edu              $U@$H$D@gate.adm.cmu.edu\n"
    "[]                $U@[$L]@gate.adm.cmu.edu\n";

TEST(Engine, ManualExampleAllSeventeenRows) {
  Options options = hub_options();
  options.pass_tags = {"sc.cs.cmu.edu",  "sc1.cs.cmu.edu",  "sc2.cs.cmu.edu",  "sd.cs.cmu.edu",
                       "ds.adm.cmu.edu", "cds.adm.cmu.edu", "gate.adm.cmu.edu"};
  const auto rules = rules_of(kManualRules, options);
  const struct {
    const char* address;
    const char* rewritten;
    const char* system;
  } rows[] = {
      {"u@sc", "u@sc.cs.cmu.edu", "sc.cs.cmu.edu"},
      {"u@sc1", "u@sc1.cs.cmu.edu", "sc1.cs.cmu.edu"},
      {"u@sc2", "u@sc2.cs.cmu.edu", "sc2.cs.cmu.edu"},
      {"u@sc.cs", "u@sc.cs.cmu.edu", "sc.cs.cmu.edu"},
      {"u@sc1.cs", "u@sc1.cs.cmu.edu", "sc1.cs.cmu.edu"},
      {"u@sc2.cs", "u@sc2.cs.cmu.edu", "sc2.cs.cmu.edu"},
      {"u@sc.cs.cmu", "u@sc.cs.cmu.edu", "sc.cs.cmu.edu"},
      {"u@sc1.cs.cmu", "u@sc1.cs.cmu.edu", "sc1.cs.cmu.edu"},
      {"u@sc2.cs.cmu", "u@sc2.cs.cmu.edu", "sc2.cs.cmu.edu"},
      {"u@sc.cs.cmu.edu", "u@sc.cs.cmu.edu", "sc.cs.cmu.edu"},
      {"u@sc1.cs.cmu.edu", "u@sc1.cs.cmu.edu", "sc1.cs.cmu.edu"},
      {"u@sc2.cs.cmu.edu", "u@sc2.cs.cmu.edu", "sc2.cs.cmu.edu"},
      {"u@sd.cs.cmu.edu", "u@sd.cs.cmu.edu", "sd.cs.cmu.edu"},
      {"u@aa.cs.cmu.edu", "u@aa.cs.cmu.edu", "ds.adm.cmu.edu"},
      {"u@a.eng.cmu.edu", "u@a.eng.cmu.edu", "cds.adm.cmu.edu"},
      {"u@a.cs.ohio.edu", "@gate.adm.cmu.edu:u@a.cs.ohio.edu", "gate.adm.cmu.edu"},
      {"u@b.cs.ohio.edu", "@gate.adm.cmu.edu:u@b.cs.ohio.edu", "gate.adm.cmu.edu"},
      {"u@[1.2.3.4]", "@gate.adm.cmu.edu:u@[1.2.3.4]", "gate.adm.cmu.edu"},
  };
  for (const auto& row : rows) {
    const Decision d = ask(*rules, row.address);
    EXPECT_EQ(d.kind, Kind::kLeave) << row.address;
    EXPECT_EQ(d.rewritten, row.rewritten) << row.address;
    EXPECT_EQ(d.routing_system, row.system) << row.address;
  }
}

// --- the seed -----------------------------------------------------------------------------------

TEST(Engine, SeedRulesOnTheHub) {
  const auto rules = rules_of(kSeedRules);
  const struct {
    const char* name;
    const char* address;
    const char* channel;
    const char* verdict;
  } rows[] = {
      {"local user to the domain", "user@domain.co.uk", "l",
       "divert user%domain.co.uk@remote1.bsmtp.invalid"},
      {"SMTP client to the domain", "user@domain.co.uk", "tcp_local",
       "divert user%domain.co.uk@remote1.bsmtp.invalid"},
      {"authenticated client", "user@domain.co.uk", "tcp_auth",
       "divert user%domain.co.uk@remote1.bsmtp.invalid"},
      {"below the domain", "user@a.b.domain.co.uk", "l",
       "divert user%a.b.domain.co.uk@remote1.bsmtp.invalid"},
      {"the peer's host itself lies in its tunnel", "user@athena.domain.co.uk", "l",
       "divert user%athena.domain.co.uk@remote1.bsmtp.invalid"},
      {"the tunnel's own mail is not tunneled", "user@domain.co.uk", "bsout_remote1", "leave"},
      {"nor below the domain", "user@athena.domain.co.uk", "bsout_remote1", "leave"},
      {"channel names ignore case", "user@domain.co.uk", "BSOUT_Remote1", "leave"},
      {"the parcel address from the tunnel", "bsmtp@athena.domain.co.uk", "bsout_remote1",
       "exempt"},
      {"the parcel address from a user", "bsmtp@athena.domain.co.uk", "l", "exempt"},
      {"out of the tunnel, no transit", "user@domain.co.uk", "bsin_gateway", "leave"},
      {"unrelated", "user@elsewhere.org", "l", "leave"},
      {"a longer name is no subdomain", "user@xdomain.co.uk", "l", "leave"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(verdict(ask(*rules, row.address, row.channel)), row.verdict) << row.name;
  }
}

TEST(Engine, SeedRulesOnAthena) {
  Options options;
  options.host = "athena.domain.co.uk";
  options.own_domains = {"domain.co.uk"};
  options.peers = {testing::peer("1", "hub.domain.com")};
  const auto rules = rules_of(
      "domain.com $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
      ".domain.com $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n",
      options);
  for (const char* channel : {"l", "tcp_local"}) {
    EXPECT_EQ(verdict(ask(*rules, "joe@domain.com", channel)),
              "divert joe%domain.com@remote1.bsmtp.invalid");
    EXPECT_EQ(verdict(ask(*rules, "joe@hub.domain.com", channel)),
              "divert joe%hub.domain.com@remote1.bsmtp.invalid");
    EXPECT_EQ(verdict(ask(*rules, "user@domain.co.uk", channel)), "leave");
  }
  EXPECT_EQ(verdict(ask(*rules, "joe@domain.com", "bsout_remote1")), "leave");
  EXPECT_EQ(verdict(ask(*rules, "bsmtp@hub.domain.com", "l")), "exempt");
  EXPECT_EQ(verdict(ask(*rules, "bsmtp@athena.domain.co.uk", "tcp_local")), "exempt");
}

TEST(Engine, ExactHostRuleWorksWithEitherSpelling) {
  // The seed prints $U%$H for an exact host, where $H is empty; manuals elsewhere print $D.
  for (const char* text : {"domain.co.uk $U%$H@BSOUT-REMOTE1", "domain.co.uk $U%$D@BSOUT-REMOTE1",
                           "domain.co.uk $U@$H@BSOUT-REMOTE1"}) {
    const Decision d = ask(*rules_of(text), "User@Domain.CO.uk");
    EXPECT_EQ(verdict(d), "divert User%Domain.CO.uk@remote1.bsmtp.invalid") << text;
  }
}

TEST(Engine, TransitCanBeAllowed) {
  Options options = hub_options();
  options.transit = true;
  EXPECT_EQ(ask(*rules_of(kSeedRules, options), "u@domain.co.uk", "bsin_gateway").kind,
            Kind::kDivert);
}

TEST(Engine, PeerThatIsNotOnIsLeft) {
  Options options = hub_options();
  options.peers[0].divert = false;
  const Decision d = ask(*rules_of(kSeedRules, options), "u@domain.co.uk");
  EXPECT_EQ(d.kind, Kind::kLeave);
  EXPECT_EQ(d.reason, "peer remote1 is not switched on");
}

// --- probes -------------------------------------------------------------------------------------

TEST(Engine, TemplateForms) {
  const struct {
    const char* rule;
    const char* address;
    const char* rewritten;
    const char* system;
  } rows[] = {
      {"x $U@mailhub.example.com", "u@x", "u@mailhub.example.com", "mailhub.example.com"},
      {"x $U%y.z@TCP-DAEMON", "u@x", "u@y.z", "TCP-DAEMON"},
      {"x $U@y.z@TCP-DAEMON", "u@x", "@TCP-DAEMON:u@y.z", "TCP-DAEMON"},
      {"x $U@y.z@via.w@TCP-DAEMON", "u@x", "@via.w:u@y.z", "TCP-DAEMON"},
      {"*.EXAMPLE.COM $U%$&0.example.com@mailhub.example.com", "jdoe@vaxa.example.com",
       "jdoe@vaxa.example.com", "mailhub.example.com"},
      {"host.example.com $U%$1D@TCP-DAEMON", "jdoe@host.example.com", "jdoe@example.com",
       "TCP-DAEMON"},
      {".com $U%$H$D@TCP-DAEMON", "x@example.com", "x@example.com", "TCP-DAEMON"},
      {"x $U%y.z\ny.z $U%$H@TCP-DAEMON", "u@x", "u@y.z", "TCP-DAEMON"},
  };
  for (const auto& row : rows) {
    const Decision d = ask(*rules_of(row.rule), row.address);
    EXPECT_EQ(d.rewritten, row.rewritten) << row.rule;
    EXPECT_EQ(d.routing_system, row.system) << row.rule;
  }
}

TEST(Engine, InsertedRouteToAPeerIsNotDivertedWithTheAddress) {
  const Decision d = ask(*rules_of("x.y $U@$H@BSOUT-REMOTE1"), "u@x.y");
  EXPECT_EQ(d.diverted, "u%x.y@remote1.bsmtp.invalid");
  EXPECT_EQ(d.route, "BSOUT-REMOTE1");
}

TEST(Engine, RewritingIsBounded) {
  const auto rules = rules_of("a.b $U%c.d\nc.d $U%a.b\ne.f $\\$U%e.f\n");
  for (const char* address : {"u@a.b", "u@e.f"}) {
    Trace trace;
    const Decision d = ask(*rules, address, kChannelSmtp, &trace);
    EXPECT_EQ(d.kind, Kind::kError);
    EXPECT_EQ(d.code, "5.4.6");
    EXPECT_EQ(trace.rounds, hub_options().max_rewrites);
  }
}

TEST(Engine, AnAddressThatGrowsEachRoundIsStopped) {
  const Decision d = ask(*rules_of("a.b $U$U%a.b"), "u@a.b");
  EXPECT_EQ(d.kind, Kind::kError);
  EXPECT_EQ(d.code, "5.4.6");
}

TEST(Engine, TagIsPrependedAndSticks) {
  // The manual's "internet" example: the route's host is this one, and what follows is forced.
  const auto rules = rules_of(
      "internet       $S$U@hub.domain.com$Tmtcp-force|\n"
      "mtcp-force|.   $U%$H@BSOUT-REMOTE2\n"
      "a.b            $U%$H@BSOUT-REMOTE1\n");
  EXPECT_EQ(verdict(ask(*rules, "@internet:u@a.b")), "divert u%a.b@remote2.bsmtp.invalid");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b")), "divert u%a.b@remote1.bsmtp.invalid");
  EXPECT_EQ(verdict(ask(*rules, "u@internet")), "leave");  // $S: only in a source route
  Trace trace;
  ask(*rules, "@internet:u@zz", kChannelSmtp, &trace);
  EXPECT_EQ(probes(trace),
            (std::vector<std::string>{"$*", "internet", "hub.domain.com", "mtcp-force|$*",
                                      "mtcp-force|zz", "mtcp-force|*", "mtcp-force|."}));
}

TEST(Engine, TagOfAFailedRuleIsNotSet) {
  const auto rules = rules_of(
      "a.b   $U%c.d$Tforce|$Nl\n"
      "a.b   $U%c.d\n"
      "c.d   $U%$H@BSOUT-REMOTE1\n"
      "force|c.d $U%$H@BSOUT-REMOTE2\n");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b", "l")), "divert u%c.d@remote1.bsmtp.invalid");
  EXPECT_EQ(verdict(ask(*rules, "u@a.b", "tcp_local")), "divert u%c.d@remote2.bsmtp.invalid");
}

// --- errors -------------------------------------------------------------------------------------

TEST(Engine, UnknownRoutingSystemIsAnError) {
  const Decision d = ask(*rules_of(".x $U@$H"), "u@a.b.x");
  EXPECT_EQ(verdict(d), "error 5.1.2 illegal host/domain");
}

TEST(Engine, ErrorText) {
  EXPECT_EQ(
      verdict(ask(*rules_of(". $?Unrecognized address; contact postmaster@xyzzy.com"), "u@a.b")),
      "error 5.1.2 Unrecognized address; contact postmaster@xyzzy.com");
  EXPECT_EQ(verdict(ask(*rules_of("a.b $4001002?later"), "u@a.b")), "error 4.1.2 later");
  // Sticky: set by a rule that failed by its channel check, told when nothing else matches.
  EXPECT_EQ(verdict(ask(*rules_of("a.b $U%$H@BSOUT-REMOTE1$Ml$?only for local users"), "u@a.b")),
            "error 5.1.2 only for local users");
  EXPECT_EQ(
      verdict(ask(*rules_of("a.b $U%$H@BSOUT-REMOTE1$Ml$?only for local users"), "u@a.b", "l")),
      "divert u%a.b@remote1.bsmtp.invalid");
  // Sticky over a further round.
  EXPECT_EQ(verdict(ask(*rules_of("a.b $U%c.d$?no way\n.d $U@$H"), "u@a.b")), "error 5.1.2 no way");
  // A host of the channel table is delivered all the same.
  EXPECT_EQ(verdict(ask(*rules_of("domain.com $?no"), "u@domain.com")), "leave");
}

// --- hosts in other places ----------------------------------------------------------------------

TEST(Engine, RoutesPercentsAndBangs) {
  const auto rules = rules_of(kSeedRules);
  const struct {
    const char* name;
    const char* address;
    const char* verdict;
    const char* stripped;
  } rows[] = {
      {"route through an unknown host is ignored as MTAs do", "<@relay.x:user@domain.co.uk>",
       "divert user%domain.co.uk@remote1.bsmtp.invalid", "user@domain.co.uk"},
      {"two hosts in the route", "@relay.x,@relay.y:user@domain.co.uk",
       "divert user%domain.co.uk@remote1.bsmtp.invalid", "user@domain.co.uk"},
      {"route through this host", "@hub.domain.com:user@domain.co.uk",
       "divert user%domain.co.uk@remote1.bsmtp.invalid", "user@domain.co.uk"},
      {"route through a tunneled host", "@a.domain.co.uk:user@else.org", "leave", "user@else.org"},
      {"percent hack on this host is for the MTA", "user%domain.co.uk@hub.domain.com", "leave",
       "user%domain.co.uk@hub.domain.com"},
      {"bang path on this host", "domain.co.uk!user@hub.domain.com", "leave",
       "domain.co.uk!user@hub.domain.com"},
      {"percent without @", "user%domain.co.uk", "leave", "user%domain.co.uk"},
      {"percent in the tunneled domain belongs to the peer", "a%b@domain.co.uk",
       "divert a%b%domain.co.uk@remote1.bsmtp.invalid", "a%b@domain.co.uk"},
      {"bang likewise", "a!b@domain.co.uk", "divert a!b%domain.co.uk@remote1.bsmtp.invalid",
       "a!b@domain.co.uk"},
      {"quoted percent is no host", "\"x%domain.co.uk\"@hub.domain.com", "leave",
       "\"x%domain.co.uk\"@hub.domain.com"},
      {"quoted local part", "\"a b\"@domain.co.uk",
       "divert \"a b%domain.co.uk\"@remote1.bsmtp.invalid", "\"a b\"@domain.co.uk"},
      {"UTF-8", "j\xc3\xb6rg@domain.co.uk", "divert j\xc3\xb6rg%domain.co.uk@remote1.bsmtp.invalid",
       "j\xc3\xb6rg@domain.co.uk"},
      {"bare user", "postmaster", "leave", "postmaster"},
      {"null address", "<>", "leave", ""},
      {"already diverted", "u%domain.co.uk@remote1.bsmtp.invalid", "leave",
       "u%domain.co.uk@remote1.bsmtp.invalid"},
      {"literal", "u@[1.2.3.4]", "leave", "u@[1.2.3.4]"},
  };
  for (const auto& row : rows) {
    const Decision d = ask(*rules, row.address);
    EXPECT_EQ(verdict(d), row.verdict) << row.name << ": " << d.reason;
    EXPECT_EQ(d.route_stripped, row.stripped) << row.name;
  }
}

TEST(Engine, PercentHackOnThisHostIsShownToGoToThePeer) {
  const auto rules = rules_of(kSeedRules);
  const Decision d = ask(*rules, "user%domain.co.uk@hub.domain.com");
  ASSERT_NE(d.peer, nullptr);
  EXPECT_EQ(d.peer->name, "remote1");
  EXPECT_EQ(d.rewritten, "user@domain.co.uk");
}

TEST(Engine, NotDivertibleIsLeftWithTheReason) {
  const auto rules = rules_of(kSeedRules);
  const std::string longest = std::string(240, 'x') + "@domain.co.uk";
  for (const std::string& address :
       {longest, std::string("\"a\\\"b\"@domain.co.uk"), std::string("-x@domain.co.uk"),
        std::string("\"a@b\"@domain.co.uk")}) {
    const Decision d = ask(*rules, address);
    EXPECT_EQ(d.kind, Kind::kLeave) << address;
    EXPECT_TRUE(d.reason.starts_with("not divertible: ")) << address << ": " << d.reason;
    EXPECT_NE(d.peer, nullptr);
  }
}

TEST(Engine, GarbageIsLeft) {
  const auto rules = rules_of(kSeedRules);
  for (const std::string& address :
       {std::string("u@domain.co.uk\r\nRCPT TO:<x@y>"), std::string("u@domain.co.uk\0", 15),
        std::string("u @domain.co.uk"), std::string("u@"), std::string("@"), std::string("@a:"),
        std::string("\"open@domain.co.uk"), std::string(5000, 'a') + "@domain.co.uk",
        std::string("u@a..domain.co.uk."), std::string(">"), std::string("%"), std::string("!")}) {
    EXPECT_EQ(ask(*rules, address).kind, Kind::kLeave) << address;
  }
}

// --- exempt and never ---------------------------------------------------------------------------

TEST(Engine, ExemptAddresses) {
  const auto rules = rules_of(std::string(kSeedRules) + ". $U%$H@BSOUT-REMOTE2\n");
  for (const char* address :
       {"bsmtp@athena.domain.co.uk", "BSMTP@Athena.Domain.CO.UK", "bsmtp+token@athena.domain.co.uk",
        "\"bsmtp\"@athena.domain.co.uk", "bsmtp@athena.domain.co.uk.",
        "Postmaster@athena.domain.co.uk", "abuse@athena.domain.co.uk", "bsmtp@hub.domain.com",
        "bsmtp+x@gate.example.net", "postmaster@hub.domain.com",
        "@relay.x:bsmtp@athena.domain.co.uk"}) {
    EXPECT_EQ(verdict(ask(*rules, address, "l")), "exempt") << address;
  }
  for (const char* address : {"bsmtpx@athena.domain.co.uk", "bsmtp@domain.co.uk",
                              "postmaster+x@athena.domain.co.uk", "postmaster@domain.co.uk"}) {
    EXPECT_EQ(ask(*rules, address, "l").kind, Kind::kDivert) << address;
  }
}

TEST(Engine, AnAddressThatIsRewrittenToAParcelAddressIsExempt) {
  const auto rules = rules_of("athena $U%athena.domain.co.uk@BSOUT-REMOTE1");
  EXPECT_EQ(verdict(ask(*rules, "bsmtp@athena")), "exempt");
  EXPECT_EQ(ask(*rules, "user@athena").kind, Kind::kDivert);
}

TEST(Engine, NotifyNeverGetsItsLabel) {
  const auto rules = rules_of(kSeedRules);
  Query query;
  query.address = "u@domain.co.uk";
  query.notify_never = true;
  EXPECT_EQ(classify(*rules, query).diverted, "u%domain.co.uk@never.remote1.bsmtp.invalid");
}

// --- trace --------------------------------------------------------------------------------------

TEST(Engine, TraceTellsRuleAndWhyItFailed) {
  Trace trace;
  const auto rules = rules_of(kSeedRules);
  ask(*rules, "u@athena.domain.co.uk", "bsout_remote1", &trace);
  const Step* failed = nullptr;
  for (const Step& step : trace.steps) {
    if (!step.rule.empty()) {
      failed = &step;
    }
  }
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->probe, ".domain.co.uk");
  EXPECT_EQ(failed->where, "rewrite:2");
  EXPECT_EQ(failed->rule, ".domain.co.uk $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1");
  EXPECT_EQ(failed->result, "fails: $N names channel bsout_remote1");
  Trace count;
  count.text = false;
  ask(*rules, "u@athena.domain.co.uk", "bsout_remote1", &count);
  EXPECT_TRUE(count.steps.empty());
  EXPECT_EQ(count.lookups, trace.lookups);
}

}  // namespace
}  // namespace bsmtp::rewrite
