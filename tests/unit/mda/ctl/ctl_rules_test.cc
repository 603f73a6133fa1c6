// rules test and rules export as an admin sees them.
#include "mda/ctl/ctl_rules.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/rewrite/export_map.h"

namespace bsmtp::mda {
namespace {

class CtlRules : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/bsmtp-ctl-rules-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    config_.host = "hub.domain.com";
    config_.own_domains = {"domain.com"};
    config_.rewrite_rules = dir_ + "/rewrite";
    config_.export_map = dir_ + "/transport";
    config::Peer peer;
    peer.name = "remote1";
    peer.host = "athena.domain.co.uk";
    peer.tag = "BSOUT-REMOTE1";
    peer.channel = "bsout_remote1";
    config_.peers.push_back(peer);
    rules(
        "domain.co.uk      $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
        ".domain.co.uk     $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void rules(const std::string& text) { std::ofstream(config_.rewrite_rules) << text; }

  std::string test(const RulesTestOptions& options) {
    std::ostringstream out;
    const Status status = rules_test(config_, options, out);
    return status.is_ok() ? out.str() : status.to_string();
  }

  std::string dir_;
  config::Config config_;
};

TEST_F(CtlRules, TestShowsProbesReasonAndResult) {
  RulesTestOptions options;
  options.address = "user@athena.domain.co.uk";
  const std::string diverted = test(options);
  EXPECT_NE(diverted.find("*.domain.co.uk"), std::string::npos) << diverted;
  EXPECT_NE(diverted.find("no rule"), std::string::npos);
  EXPECT_NE(diverted.find(dir_ + "/rewrite:2"), std::string::npos);
  EXPECT_NE(diverted.find("recipient becomes: "
                          "user%athena.domain.co.uk@remote1.bsmtp.invalid\n"),
            std::string::npos);
  options.from = "bsout_remote1";
  const std::string left = test(options);
  EXPECT_NE(left.find("fails: $N names channel bsout_remote1"), std::string::npos) << left;
  EXPECT_NE(left.find("result: leave: no rule\n"), std::string::npos);
}

TEST_F(CtlRules, TestAsJson) {
  RulesTestOptions options;
  options.address = "u\"\x1b@domain.co.uk";
  options.json = true;
  const std::string text = test(options);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  options.address = "user@domain.co.uk";
  options.notify_never = true;
  EXPECT_NE(test(options).find("\"diverted\":\"user%domain.co.uk@never.remote1.bsmtp.invalid\""),
            std::string::npos)
      << test(options);
}

TEST_F(CtlRules, UnknownChannelAndBadRulesAreNamed) {
  RulesTestOptions options;
  options.address = "u@x";
  options.from = "tcp_lokal";
  EXPECT_EQ(test(options),
            "5.5.4 --from tcp_lokal: no such source channel; there are l, tcp_local, tcp_auth, "
            "bsin_gateway, bsout_remote1");
  options.from = "l";
  rules("a.b $U%$H@NOWHERE\n");
  EXPECT_NE(test(options).find("/rewrite:1: \"NOWHERE\" is no peer's tag"), std::string::npos);
}

TEST_F(CtlRules, ExportToOutFileAndConfiguredMap) {
  std::ostringstream out;
  ASSERT_TRUE(rules_export(config_, {}, out).is_ok());
  EXPECT_NE(out.str().find("domain.co.uk\tbsmtp-out:remote1.bsmtp.invalid\n"), std::string::npos);
  RulesExportOptions options;
  options.write = true;
  std::ostringstream said;
  ASSERT_TRUE(rules_export(config_, options, said).is_ok());
  EXPECT_EQ(said.str(), config_.export_map + ": 5 entries, 0 rules that no table can express\n");
  const auto map = rewrite::ExportedMap::open(config_.export_map);
  ASSERT_TRUE(map.is_ok());
  EXPECT_EQ(map->find("x.domain.co.uk"), "remote1");
  options.output = dir_ + "/other";
  EXPECT_TRUE(rules_export(config_, options, said).is_permanent());
  options.write = false;
  options.regexp = true;
  ASSERT_TRUE(rules_export(config_, options, said).is_ok());
  std::ifstream file(options.output);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find("/^bsmtp(\\+[^@]*)?@athena\\.domain\\.co\\.uk$/\t:\n"),
            std::string::npos);
}

TEST_F(CtlRules, ExportNamesTheTransportOfTheConfiguration) {
  config_.export_transport = "bsmtp-out-lmtp:unix:private/bsmtp-out-agent";
  std::ostringstream lmtp;
  ASSERT_TRUE(rules_export(config_, {}, lmtp).is_ok());
  for (const char* key : {"domain.co.uk", ".bsmtp.invalid"}) {
    EXPECT_NE(lmtp.str().find(std::string(key) + "\tbsmtp-out-lmtp:unix:private/bsmtp-out-agent\n"),
              std::string::npos)
        << key;
  }
  RulesExportOptions options;
  options.transport = "other";
  std::ostringstream other;
  ASSERT_TRUE(rules_export(config_, options, other).is_ok());
  EXPECT_NE(other.str().find("domain.co.uk\tother:remote1.bsmtp.invalid\n"), std::string::npos);
  for (const char* bad : {"", "bsmtp-out", ":unix:x", "a b:c"}) {
    config_.export_transport = bad;
    std::ostringstream out;
    EXPECT_TRUE(rules_export(config_, {}, out).is_permanent()) << bad;
  }
}

TEST_F(CtlRules, PeerThatOnlyReceivesIsNotDiverted) {
  config_.peers[0].state = config::PeerState::kReceive;
  EXPECT_FALSE(rule_options(config_).peers[0].divert);
  config_.peers[0].state = config::PeerState::kStopping;
  EXPECT_FALSE(rule_options(config_).peers[0].divert);
}

}  // namespace
}  // namespace bsmtp::mda
