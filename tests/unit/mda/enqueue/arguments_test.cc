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

TEST(Arguments, LmtpTakesAPeerAtMost) {
  const auto bare = parse({"--lmtp"});
  ASSERT_TRUE(bare.is_ok()) << bare.status().to_string();
  EXPECT_TRUE(bare->lmtp);
  const auto with_peer = parse({"--config", "/c", "--peer", "remote1", "--lmtp"});
  ASSERT_TRUE(with_peer.is_ok()) << with_peer.status().to_string();
  EXPECT_TRUE(with_peer->lmtp);
  EXPECT_EQ(with_peer->request.peer, "remote1");
  const auto value = parse({"--sender", "--lmtp", "--", "x@y"});
  ASSERT_TRUE(value.is_ok()) << value.status().to_string();
  EXPECT_FALSE(value->lmtp);
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
      {"LMTP with a recipient", {"--lmtp", "--", "x@y"}},
      {"LMTP with a sender", {"--lmtp", "--sender", ""}},
      {"LMTP with an envelope id", {"--lmtp", "--envid", "E1"}},
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
