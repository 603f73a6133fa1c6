#include "mda/enqueue/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bsmtp::mda {
namespace {

using testing::ElementsAre;

Result<EnqueueArguments> parse(std::vector<const char*> args) {
  args.insert(args.begin(), "bsmtp-out");
  return parse_arguments(static_cast<int>(args.size()), args.data());
}

TEST(Arguments, TakesTheDocumentedCommandLine) {
  const auto parsed =
      parse({"--config", "/c", "--peer", "remote1.bsmtp.invalid", "--queue-id", "4Abc", "--envid",
             "E1", "--ret", "FULL", "--sender", "a@b", "--", "x@y", "-z@y"});
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
  EXPECT_EQ(parsed->config_file, "/c");
  EXPECT_EQ(parsed->request.peer, "remote1.bsmtp.invalid");
  EXPECT_EQ(parsed->request.queue_id, "4Abc");
  EXPECT_EQ(parsed->request.envid, "E1");
  EXPECT_EQ(parsed->request.ret, "FULL");
  EXPECT_EQ(parsed->request.sender, "a@b");
  EXPECT_THAT(parsed->request.recipients, ElementsAre("x@y", "-z@y"));
}

TEST(Arguments, ValuesFromMailAreNeverOptions) {
  const auto parsed = parse({"--peer", "remote1", "--queue-id", "", "--envid", "--help", "--ret",
                             "", "--sender", "--config=/evil", "--", "--peer=other@x", "--"});
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
  EXPECT_EQ(parsed->config_file, "");
  EXPECT_EQ(parsed->request.peer, "remote1");
  EXPECT_EQ(parsed->request.envid, "--help");
  EXPECT_EQ(parsed->request.sender, "--config=/evil");
  EXPECT_THAT(parsed->request.recipients, ElementsAre("--peer=other@x", "--"));
}

TEST(Arguments, AcceptsTheNullSenderInBothForms) {
  EXPECT_TRUE(parse({"--sender", "", "--", "x@y"}).is_ok());
  EXPECT_TRUE(parse({"--sender=", "--", "x@y"}).is_ok());
}

struct BadCase {
  const char* name;
  std::vector<const char*> args;
};

TEST(Arguments, EveryMistakeIsTemporary) {
  const BadCase cases[] = {
      {"nothing", {}},
      {"no recipient", {"--sender", "a@b", "--"}},
      {"no sender", {"--peer", "p", "--", "x@y"}},
      {"value missing", {"--sender"}},
      {"unknown option", {"--sender", "a@b", "--bogus", "--", "x@y"}},
      {"abbreviated option", {"--send", "a@b", "--", "x@y"}},
      {"LMTP", {"--lmtp"}},
  };
  for (const auto& c : cases) {
    const auto parsed = parse(c.args);
    ASSERT_FALSE(parsed.is_ok()) << c.name;
    EXPECT_TRUE(parsed.status().is_temporary()) << c.name;
    EXPECT_EQ(parsed.status().code(), "4.3.5") << c.name;
  }
}

}  // namespace
}  // namespace bsmtp::mda
