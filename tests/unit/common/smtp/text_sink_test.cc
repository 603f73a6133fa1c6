#include "common/smtp/text_sink.h"

#include <gtest/gtest.h>

#include "tests/support/chunked.h"

namespace bsmtp::smtp {
namespace {

TEST(TextSink, TextAndEndDotOfASmallMessageLeaveInOnePiece) {
  std::vector<std::string> blocks;
  TextSink sink([&](std::string_view block) {
    blocks.emplace_back(block);
    return Status::ok();
  });
  ASSERT_TRUE(sink.write("a: b\r\n\r\n..dot\r\n").is_ok());
  EXPECT_TRUE(blocks.empty());
  EXPECT_TRUE(sink.check_end().is_ok());
  ASSERT_TRUE(sink.end_dot().is_ok());
  EXPECT_EQ(blocks, std::vector<std::string>{"a: b\r\n\r\n..dot\r\n.\r\n"});
  EXPECT_EQ(sink.octets(), 15U);
}

TEST(TextSink, TextThatCouldEndEarlyNeverGetsItsEndDot) {
  const struct {
    const char* name;
    std::string_view text;
    const char* code;
  } cases[] = {
      {"end dot inside", "x\r\n.\r\nMAIL FROM:<>\r\n", "5.6.0"},
      {"end dot first", ".\r\n", "5.6.0"},
      {"LF dot LF", "x\n.\n", "5.6.1"},
      {"LF dot CRLF", "x\n.\r\n", "5.6.1"},
      {"CR dot CR", "x\r.\r", "5.6.1"},
      {"NUL", std::string_view("x\0\r\n", 4), "5.6.1"},
      {"no line end", "x", "5.6.0"},
      {"CR at the end", "x\r", "5.6.0"},
  };
  for (const auto& c : cases) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, c.text.size()}) {
      TextSink sink([](std::string_view) { return Status::ok(); });
      Status status;
      for (std::size_t i = 0; i < c.text.size() && status.is_ok(); i += size) {
        status = sink.write(c.text.substr(i, size));
      }
      status = status.is_ok() ? sink.check_end() : status;
      EXPECT_EQ(status.code(), c.code) << c.name << ", pieces of " << size;
      EXPECT_FALSE(sink.check_end().is_ok()) << c.name << ": must not be forgotten";
    }
  }
}

TEST(TextSink, FailureOfTheServerIsToldApart) {
  TextSink sink([](std::string_view) { return Status::temporary("4.4.2", "gone"); });
  const std::string large(2 * kBlockSize - 2, 'x');
  EXPECT_EQ(sink.write(large + "\r\n").text(), "gone");
  EXPECT_EQ(sink.transport_failure().text(), "gone");
}

}  // namespace
}  // namespace bsmtp::smtp
