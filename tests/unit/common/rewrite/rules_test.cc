// Loading: includes, comments, the blank line, and every refusal with its file and line.
#include "common/rewrite/rules.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/common/rewrite/rewrite_fixture.h"

namespace bsmtp::rewrite {
namespace {

using testing::hub_options;

class RulesFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/bsmtp-rules-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
    return dir_ + "/" + name;
  }
  // The error text with the directory taken out; "" when it loaded.
  std::string error(const std::string& path) {
    const auto rules = RuleSet::load(path, hub_options());
    if (rules.is_ok()) {
      return "";
    }
    EXPECT_TRUE(rules.status().is_temporary());
    EXPECT_EQ(rules.status().code(), "4.3.5");
    std::string text = rules.status().text();
    for (std::size_t at = text.find(dir_ + "/"); at != std::string::npos;
         at = text.find(dir_ + "/")) {
      text.erase(at, dir_.size() + 1);
    }
    return text;
  }

  std::string dir_;
};

TEST_F(RulesFiles, SeedFileLoads) {
  const auto rules =
      RuleSet::load(write("rewrite", std::string(testing::kSeedRules)), hub_options());
  ASSERT_TRUE(rules.is_ok()) << rules.status().to_string();
  EXPECT_EQ(rules.value()->size(), 2U);
  EXPECT_TRUE(rules.value()->warnings().empty());
}

TEST_F(RulesFiles, CommentsCrLfTabsAndNoFinalNewline) {
  const auto rules = RuleSet::load(write("rewrite",
                                         "\n! a comment, control\n\n"
                                         "a.b\t \t$U%$H@BSOUT-REMOTE1\r\n"
                                         "!c.d $( not read\r\n"
                                         "   e.f $U%$H@BSOUT-REMOTE2"),
                                   hub_options());
  ASSERT_TRUE(rules.is_ok()) << rules.status().to_string();
  EXPECT_EQ(rules.value()->size(), 2U);
  EXPECT_EQ(testing::ask(*rules.value(), "u@e.f").kind, Kind::kDivert);
}

TEST_F(RulesFiles, IncludesAreRelativeToTheIncludingFile) {
  write("sub/more", "<deep/most\nc.d $U%$H@BSOUT-REMOTE1\n");
  write("sub/deep/most", "e.f $U%$H@BSOUT-REMOTE2\n");
  const std::string absolute = write("elsewhere", "g.h $U%$H@BSOUT-REMOTE2\n");
  const auto rules = RuleSet::load(
      write("rewrite", "a.b $U%$H@BSOUT-REMOTE1\n< sub/more\n<" + absolute + "\n"), hub_options());
  ASSERT_TRUE(rules.is_ok()) << rules.status().to_string();
  EXPECT_EQ(rules.value()->size(), 4U);
  EXPECT_EQ(rules.value()->files().size(), 4U);
  Trace trace;
  testing::ask(*rules.value(), "u@e.f", kChannelSmtp, &trace);
  EXPECT_EQ(trace.steps.back().where, dir_ + "/sub/deep/most:1");
}

TEST_F(RulesFiles, FirstInFileOrderHoldsOverIncludes) {
  write("more", "a.b $U%$H@BSOUT-REMOTE2\n");
  const auto rules =
      RuleSet::load(write("rewrite", "<more\na.b $U%$H@BSOUT-REMOTE1\n"), hub_options());
  ASSERT_TRUE(rules.is_ok());
  EXPECT_EQ(testing::ask(*rules.value(), "u@a.b").routing_system, "BSOUT-REMOTE2");
}

TEST_F(RulesFiles, IncludeErrors) {
  EXPECT_EQ(error(write("self", "! x\n<self\n")), "self:2: self includes itself");
  write("b", "<a\n");
  EXPECT_EQ(error(write("a", "<b\n")), "b:1: a includes itself");
  EXPECT_EQ(error(write("gone", "<nowhere\n")), "gone:1: open nowhere: No such file or directory");
  EXPECT_EQ(error(write("none", "<\n")), "none:1: `<` needs a file name");
  write("bad", "x.y $U%$H@BSOUT-REMOTE1\nx.y $(a)\n");
  EXPECT_EQ(error(write("outer", "! c\n\n<bad\n")).substr(0, 7), "bad:2: ");
  EXPECT_NE(error(dir_ + "/absent").find("absent"), std::string::npos);
}

TEST_F(RulesFiles, LoopByALinkEndsAtTheDepthLimit) {
  std::filesystem::create_directories(dir_ + "/d");
  std::filesystem::create_directory_symlink(".", dir_ + "/d/again");
  const std::string path = write("d/rules", "<again/rules\n");
  EXPECT_NE(error(path).find("nested deeper than 10 files; is there a loop?"), std::string::npos)
      << error(path);
}

TEST_F(RulesFiles, LineErrorsNameFileAndLine) {
  const struct {
    const char* text;
    const char* message;
  } rows[] = {
      {"a.b\n", "r:1: pattern \"a.b\" has no template; a rule is `pattern template`"},
      {"! x\na.b $U%$H@BSOUT-NOWHERE\n",
       "r:2: \"BSOUT-NOWHERE\" is no peer's tag and not in pass-tags; name the peer that owns it "
       "or add it to pass-tags"},
      {"a.b $U@$D\n",
       "r:1: \"a.b\" is no peer's tag and not in pass-tags; name the peer that owns it or add it "
       "to pass-tags"},
      {"a.b $U%$(x)@BSOUT-REMOTE1\n",
       "r:1: `$(...)` (general database) is not supported; write the rule out"},
      {"a.b $U%$H @BSOUT-REMOTE1\n",
       "r:1: there is a blank in the template \"$U%$H @BSOUT-REMOTE1\""},
      {"a.b $U%$H@BSOUT-REMOTE1 $Nl\n", "r:1: there is a blank in the template"},
      {"a.b $U%x y@BSOUT-REMOTE1\n", "r:1: there is a blank in the template"},
      {"a.b $U%$H@BSOUT-REMOTE1\n\nc.d $U%$H@BSOUT-REMOTE1\n",
       "r:3: a rule after the blank line r:2, where PMDF ends the rules"},
      {"a.b $U%\x01@BSOUT-REMOTE1\n", "r:1: there is a control character in the line"},
      {"a.*.b $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"a.*.b\" can never match"},
      {"a*.b $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"a*.b\" can never match"},
      {".*.b $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \".*.b\" can never match"},
      {"a..b $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"a..b\" can never match"},
      {"a.b. $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"a.b.\" can never match"},
      {"u@a.b $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"u@a.b\" can never match"},
      {"$x $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"$x\" can never match"},
      {"[1.2.3 $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"[1.2.3\" can never match"},
      {"[1.2] $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"[1.2]\" can never match"},
      {"[1.*.*.*] $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"[1.*.*.*]\" can never match"},
      {"tag| $U%$H@BSOUT-REMOTE1\n", "r:1: pattern \"tag|\" can never match"},
  };
  for (const auto& row : rows) {
    const std::string text = error(write("r", row.text));
    EXPECT_EQ(text.substr(0, std::string(row.message).size()), row.message) << text;
  }
  EXPECT_EQ(error(write("r", std::string(5000, 'a'))), "r:1: the line is longer than 4096 octets");
}

TEST(Rules, LimitOfTheNumberOfRules) {
  Options options = hub_options();
  options.max_rules = 1;
  const auto rules =
      RuleSet::parse("a.b $U%$H@BSOUT-REMOTE1\nc.d $U%$H@BSOUT-REMOTE1\n", "r", options);
  ASSERT_FALSE(rules.is_ok());
  EXPECT_EQ(rules.status().text(), "r:2: more than 1 rules");
}

TEST(Rules, PatternsThatAreFine) {
  const auto rules = testing::rules_of(
      "* $U%$&0.x@TCP-DAEMON\n*.* $U%$H@TCP-DAEMON\n*.*.com $U%$H$D@TCP-DAEMON\n"
      "[] $U%$H@TCP-DAEMON\n[10.] $U%$H@TCP-DAEMON\n[10.1.2.3] $U%$H@TCP-DAEMON\n"
      "[*.*.*.*] $U%$H@TCP-DAEMON\n[IPv6:::1] $U%$H@TCP-DAEMON\n"
      "tag|[] $U%$H@TCP-DAEMON\ntag|$* $U%$H@TCP-DAEMON\n$% $U%$H@TCP-DAEMON\n"
      "$! $U%$H@TCP-DAEMON\nm\xc3\xbcnchen.example $U%$H@TCP-DAEMON\n. $U%$H@TCP-DAEMON\n");
  ASSERT_NE(rules, nullptr);
  EXPECT_EQ(rules->size(), 14U);
}

TEST(Rules, TagsAreComparedWithoutCaseAndMustBeUnique) {
  EXPECT_NE(testing::rules_of("a.b $U%$H@bsout-remote1"), nullptr);
  Options options = hub_options();
  options.peers[1].tag = "bsout-REMOTE1";
  auto rules = RuleSet::parse("", "r", options);
  ASSERT_FALSE(rules.is_ok());
  EXPECT_NE(rules.status().text().find("is another peer's"), std::string::npos);
  options = hub_options();
  options.pass_tags.push_back("BSOUT-REMOTE2");
  rules = RuleSet::parse("", "r", options);
  ASSERT_FALSE(rules.is_ok());
  EXPECT_NE(rules.status().text().find("pass-tags"), std::string::npos);
}

TEST(Rules, Warnings) {
  const auto rules = testing::rules_of(
      ".com $U%$H$D@BSOUT-REMOTE1\n"
      "a.b $U%$H@BSOUT-REMOTE1\n"
      "a.b $U%$H@BSOUT-REMOTE2\n"
      "c.d $U%$H@BSOUT-REMOTE1$Nl\n"
      "c.d $U%$H@BSOUT-REMOTE2\n");
  ASSERT_NE(rules, nullptr);
  std::vector<std::string> warnings = rules->warnings();
  std::sort(warnings.begin(), warnings.end());
  ASSERT_EQ(warnings.size(), 3U);
  EXPECT_EQ(warnings[0].substr(0, 43), "mail for this host's own domain domain.com ");
  EXPECT_EQ(warnings[1].substr(0, 47), "mail for this host's own domain hub.domain.com ");
  EXPECT_EQ(warnings[2], "rewrite:3: never used: the same pattern at rewrite:2 cannot fail");
}

TEST(Rules, FindPeer) {
  const auto rules = testing::rules_of("");
  ASSERT_NE(rules->find_peer("Remote2"), nullptr);
  EXPECT_EQ(rules->find_peer("Remote2")->host, "gate.example.net");
  EXPECT_EQ(rules->find_peer("remote3"), nullptr);
}

}  // namespace
}  // namespace bsmtp::rewrite
