// What the socketmap answers for Postfix and for sendmail, next to the exported map's answers.
#include "milter/map_lookup.h"

#include <gtest/gtest.h>

#include <string>

namespace bsmtp::milter {
namespace {

using socketmap::Answer;

config::Config hub() {
  config::Config config;
  config.host = "hub.domain.com";
  config.own_domains = {"domain.com", "hub.domain.com"};
  config::Peer peer;
  peer.name = "remote1";
  peer.host = "athena.domain.co.uk";
  peer.tag = "BSOUT-REMOTE1";
  peer.channel = "bsout_remote1";
  peer.recipient_domains = {"*"};
  config.peers = {peer};
  return config;
}

// Rules of which a table can say only part: depth by `*`, a pass tag inside, channels.
constexpr std::string_view kRules =
    "domain.co.uk        $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
    ".domain.co.uk       $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n"
    "here.domain.co.uk   $U%here.domain.co.uk@DIRECT\n"
    "old.example         $U%domain.co.uk@BSOUT-REMOTE1\n"
    "auth.example        $U%auth.example@BSOUT-REMOTE1$Mtcp_auth\n"
    "*.deep.example      $U%$H$D@BSOUT-REMOTE1\n"
    "plain.example       $U%plain.example@DIRECT\n";

std::shared_ptr<const Policy> policy(config::Config config = hub()) {
  config.pass_tags = {"DIRECT"};
  auto result = Policy::parse(config, kRules);
  if (!result.is_ok()) {
    ADD_FAILURE() << result.status().to_string();
    std::abort();
  }
  return *result;
}

std::string ask(const std::shared_ptr<const Policy>& rules, std::string_view map,
                std::string_view key) {
  const MapAnswer answer = look_up_map(*rules, map, key);
  return answer.answer == Answer::kOk         ? answer.data
         : answer.answer == Answer::kNotFound ? "-"
                                              : "temp";
}

TEST(MapLookup, EveryKindOfKey) {
  constexpr const char* kOut = "bsmtp-out:remote1.bsmtp.invalid";
  constexpr const char* kPeer = "remote1.bsmtp.invalid";
  constexpr const char* kDirect = "direct";
  constexpr const char* kTemp = "temp";
  const struct {
    const char* name;
    const char* key;
    const char* postfix;
    const char* sendmail;
  } cases[] = {
      {"tunneled domain", "user@domain.co.uk", kOut, "user%domain.co.uk@remote1.bsmtp.invalid"},
      {"in capitals", "User@DOMAIN.Co.Uk", kOut, "User%DOMAIN.Co.Uk@remote1.bsmtp.invalid"},
      {"with a trailing dot", "user@domain.co.uk.", kOut,
       "user%domain.co.uk@remote1.bsmtp.invalid"},
      {"host below it", "user@cs.domain.co.uk", kOut, "user%cs.domain.co.uk@remote1.bsmtp.invalid"},
      {"the gateway's other users", "root@athena.domain.co.uk", kOut,
       "root%athena.domain.co.uk@remote1.bsmtp.invalid"},
      {"sendmail's user+*", "user+*@domain.co.uk", kOut,
       "user+*%domain.co.uk@remote1.bsmtp.invalid"},
      {"parcel address", "bsmtp@athena.domain.co.uk", ":", kDirect},
      {"return address", "bsmtp+0123@athena.domain.co.uk", ":", kDirect},
      {"postmaster of the gateway", "Postmaster@athena.domain.co.uk", ":", kDirect},
      {"our own parcel address", "bsmtp@hub.domain.com", "-", kDirect},
      {"exception below a tunneled domain", "user@here.domain.co.uk", ":", kDirect},
      {"left to the MTA elsewhere", "user@plain.example", "-", kDirect},
      {"rewritten on the way", "user@old.example", kOut, "user%domain.co.uk@remote1.bsmtp.invalid"},
      {"depends on the channel", "user@auth.example", "-", kDirect},
      {"one label, as the rule asks", "user@a.deep.example", kOut,
       "user%a.deep.example@remote1.bsmtp.invalid"},
      {"two labels, which a table cannot tell", "user@a.b.deep.example", ":", kDirect},
      {"no label", "user@deep.example", "-", kDirect},
      {"not divertible, unquoted", "a\"b c@domain.co.uk", kOut, kPeer},
      {"quoted", "\"a b\"@domain.co.uk", kOut, "\"a b%domain.co.uk\"@remote1.bsmtp.invalid"},
      {"begins with a dash", "-x@domain.co.uk", kOut, kPeer},
      {"percent", "user%x.example@domain.co.uk", kOut,
       "user%x.example%domain.co.uk@remote1.bsmtp.invalid"},
      {"percent at this host is the MTA's to resolve", "u%domain.co.uk@domain.com", "-", kDirect},
      {"diverted already", "user%domain.co.uk@remote1.bsmtp.invalid",
       "bsmtp-out:", "user%domain.co.uk@remote1.bsmtp.invalid"},
      {"diverted, never", "u%domain.co.uk@never.remote1.bsmtp.invalid",
       "bsmtp-out:", "u%domain.co.uk@never.remote1.bsmtp.invalid"},
      {"other mail", "user@example.net", "-", kDirect},
      {"own user", "alice@domain.com", "-", kDirect},
      {"literal", "user@[192.0.2.1]", "-", kDirect},
      {"domain alone", "domain.co.uk", "-", kTemp},
      {"parent alone", ".domain.co.uk", "-", kTemp},
      {"user alone", "user@", "-", kTemp},
      {"domain with @", "@domain.co.uk", "-", kTemp},
      {"wildcard", "*", "-", kTemp},
      {"null sender", "<>", "-", kTemp},
      {"empty", "", "-", kTemp},
      {"dots", "user@...", "-", kDirect},
      {"sign of life", ".bsmtp.invalid", "-", kTemp},
  };
  const auto rules = policy();
  for (const auto& c : cases) {
    EXPECT_EQ(ask(rules, "transport", c.key), c.postfix) << c.name;
    EXPECT_EQ(ask(rules, "bsmtp_rules", c.key), c.sendmail) << c.name;
  }
}

TEST(MapLookup, AnUnknownMapIsTemporary) {
  EXPECT_EQ(ask(policy(), "mailertable", "user@domain.co.uk"), "temp");
  EXPECT_EQ(ask(policy(), "TRANSPORT", "user@example.net"), "temp");
}

TEST(MapLookup, ThePeerThatIsOffTunnelsNothing) {
  config::Config config = hub();
  config.peers[0].state = config::PeerState::kOff;
  EXPECT_EQ(ask(policy(config), "transport", "user@domain.co.uk"), "-");
}

TEST(MapLookup, TheConfiguredTransport) {
  config::Config config = hub();
  config.socketmap_socket = "unix:/x";
  config.export_transport = "bsmtp-out-lmtp:unix:private/bsmtp-out-agent";
  EXPECT_EQ(ask(policy(config), "transport", "user@domain.co.uk"), config.export_transport);
  EXPECT_EQ(ask(policy(config), "transport", "u%d.co@remote1.bsmtp.invalid"),
            config.export_transport);
  for (const char* bad : {"", "bsmtp-out", ":x", "a b:c"}) {
    config.export_transport = bad;
    EXPECT_EQ(Policy::parse(config, kRules).status().code(), "4.3.5") << bad;
  }
}

TEST(MapLookup, AHostileKeyCostsNoRejection) {
  const auto rules = policy();
  std::string deep = "user@";
  for (int i = 0; i < 2000; ++i) {
    deep += "a.";
  }
  EXPECT_EQ(ask(rules, "transport", deep + "example.net"), "-");
  EXPECT_EQ(ask(rules, "transport", std::string("u\0@exa\nmple.net", 15)), "-");
}

}  // namespace
}  // namespace bsmtp::milter
