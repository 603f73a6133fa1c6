#include "common/smtp/reply.h"

#include <gtest/gtest.h>

#include "tests/support/chunked.h"

namespace bsmtp::smtp {
namespace {

Result<Reply> read(const test::Chunks& chunks, std::string* rest = nullptr) {
  ReplyParser parser;
  for (const std::string_view chunk : chunks) {
    const auto n = parser.feed(chunk);
    if (!n.is_ok()) return n.status();
    if (rest != nullptr) {
      *rest += chunk.substr(*n);
    }
  }
  if (!parser.done()) return Status::temporary("4.0.0", "not finished");
  return parser.take();
}

TEST(ReplyParser, ReadsRepliesForAnyCutting) {
  const struct {
    const char* name;
    const char* in;
    int code;
    const char* enhanced;
    const char* text;
  } cases[] = {
      {"plain", "250 ok\r\n", 250, "", "ok"},
      {"enhanced", "550 5.1.1 no such user\r\n", 550, "5.1.1", "no such user"},
      {"several lines", "250-a\r\n250-b\r\n250 c\r\n", 250, "", "a b c"},
      {"enhanced on each line", "550-5.7.1 one\r\n550 5.7.1 two\r\n", 550, "5.7.1", "one two"},
      {"code only", "354\r\n", 354, "", ""},
      {"LF", "250 ok\n", 250, "", "ok"},
      {"enhanced of another class is text", "550 2.1.1 odd\r\n", 550, "", "2.1.1 odd"},
      {"a number that is no enhanced code", "250 2.5 litres\r\n", 250, "", "2.5 litres"},
      {"enhanced code alone", "250 2.0.0\r\n", 250, "2.0.0", ""},
      {"three digits each", "452 4.123.456 x\r\n", 452, "4.123.456", "x"},
  };
  for (const auto& c : cases) {
    test::for_each_cutting(c.in, [&](const test::Chunks& chunks) {
      const auto reply = read(chunks);
      ASSERT_TRUE(reply.is_ok()) << c.name;
      EXPECT_EQ(reply->code, c.code) << c.name;
      EXPECT_EQ(reply->enhanced, c.enhanced) << c.name;
      EXPECT_EQ(reply->text(), c.text) << c.name;
    });
  }
}

TEST(ReplyParser, LeavesTheNextReplyAlone) {
  test::for_each_cutting("250 ok\r\n354 go\r\n", [](const test::Chunks& chunks) {
    std::string rest;
    ASSERT_TRUE(read(chunks, &rest).is_ok());
    EXPECT_EQ(rest, "354 go\r\n");
  });
}

TEST(ReplyParser, RefusesWhatIsNoReply) {
  std::string many;
  for (int i = 0; i < 201; ++i) {
    many += "250-x\r\n";
  }
  for (const std::string& bad :
       {std::string("hello\r\n"), std::string("25\r\n"), std::string("250x\r\n"),
        std::string("150 x\r\n"), std::string("650 x\r\n"), std::string("250-a\r\n251 b\r\n"),
        std::string("\r\n"), std::string(5000, '2'), many}) {
    const auto reply = read({bad});
    ASSERT_FALSE(reply.is_ok()) << bad.substr(0, 40);
    EXPECT_EQ(reply.status().code(), "4.5.0") << bad.substr(0, 40);
  }
}

TEST(Reply, BecomesAStatusInOnePlace) {
  const struct {
    const char* in;
    StatusClass status_class;
    const char* code;
  } cases[] = {
      {"250 ok\r\n", StatusClass::kOk, "2.0.0"},
      {"450 4.2.1 later\r\n", StatusClass::kTemporary, "4.2.1"},
      {"421 bye\r\n", StatusClass::kTemporary, "4.3.2"},
      {"452 full\r\n", StatusClass::kTemporary, "4.3.1"},
      {"451 x\r\n", StatusClass::kTemporary, "4.0.0"},
      {"550 no\r\n", StatusClass::kPermanent, "5.0.0"},
      {"552 too big\r\n", StatusClass::kPermanent, "5.3.4"},
      {"554 5.7.1 no\r\n", StatusClass::kPermanent, "5.7.1"},
      {"354 go\r\n", StatusClass::kTemporary, "4.5.0"},
  };
  for (const auto& c : cases) {
    const Status status = read({c.in})->to_status("RCPT");
    EXPECT_EQ(status.status_class(), c.status_class) << c.in;
    EXPECT_EQ(status.code(), c.code) << c.in;
  }
  EXPECT_EQ(read({"550 5.1.1 a\x07"
                  "b\r\n"})
                ->to_string(),
            "550 5.1.1 a?b");
  EXPECT_EQ(Reply().to_string(), "no reply");
  EXPECT_TRUE(Reply().to_status("x").is_temporary());
}

}  // namespace
}  // namespace bsmtp::smtp
