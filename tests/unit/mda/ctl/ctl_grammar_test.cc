#include <gtest/gtest.h>

#include "common/base/text.h"
#include "mda/ctl/ctl_commands.h"

namespace bsmtp::mda::ctl {
namespace {

struct GrammarCase {
  const char* name;
  const char* grammar;
  std::vector<std::string> words;
  bool ok;
};

TEST(CtlGrammar, AcceptsAndRefuses) {
  const std::vector<GrammarCase> cases = {
      {"nothing", "", {}, true},
      {"a word too many", "", {"x"}, false},
      {"json everywhere", "", {"--json"}, true},
      {"json takes no value", "", {"--json=1"}, false},
      {"word", "FILE", {"x"}, true},
      {"word missing", "FILE", {}, false},
      {"optional word", "[FILE]", {}, true},
      {"many words", "ID...", {"a", "b", "c"}, true},
      {"at least one", "ID...", {}, false},
      {"needed option", "FILE --peer NAME [--fingerprint HEX]", {"x", "--peer", "y"}, true},
      {"needed option missing", "FILE --peer NAME [--fingerprint HEX]", {"x"}, false},
      {"order is free", "FILE --peer NAME", {"--peer", "y", "x"}, true},
      {"equals sign", "FILE --peer NAME", {"--peer=y", "x"}, true},
      {"value missing", "[--peer NAME]", {"--peer"}, false},
      {"unknown option", "[--peer NAME]", {"--pear", "x"}, false},
      {"flag", "[--text]", {"--text"}, true},
      {"word with a dash after --", "FILE", {"--", "--odd"}, true},
      {"a single dash is a word", "FILE", {"-"}, true},
  };
  for (const GrammarCase& c : cases) {
    SCOPED_TRACE(c.name);
    const auto parsed = Grammar(c.grammar).parse(c.words);
    EXPECT_EQ(parsed.is_ok(), c.ok) << parsed.status().text();
    EXPECT_FALSE(!parsed.is_ok() && parsed.status().text().empty());
  }
}

TEST(CtlGrammar, GivesValues) {
  const auto parsed =
      Grammar("FILE --peer NAME [--text]").parse({"a b", "--peer", "x", "--peer=y", "--text"});
  ASSERT_TRUE(parsed.is_ok());
  EXPECT_EQ(parsed->word(0), "a b");
  EXPECT_EQ(parsed->word(1), "");
  EXPECT_EQ(parsed->value("peer"), "y");
  EXPECT_EQ(parsed->values("peer"), (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(parsed->has("text"));
  EXPECT_EQ(parsed->value("other", "default"), "default");
}

TEST(CtlCommands, TableIsSound) {
  for (const Command& command : commands()) {
    SCOPED_TRACE(std::string(command.name));
    EXPECT_NE(command.handler, nullptr);
    EXPECT_FALSE(command.help.empty());
    EXPECT_LE(command.help.size(), 90U);
    std::vector<std::string> words;
    for (const auto word : split_blank(command.name)) {
      words.emplace_back(word);
    }
    EXPECT_EQ(find_command(words), &command) << "hidden by another row";
    // A command that has no configuration cannot know whom to become.
    EXPECT_TRUE(command.needs_config == NeedsConfig::kYes || command.run_as == RunAs::kCaller);
  }
}

}  // namespace
}  // namespace bsmtp::mda::ctl
