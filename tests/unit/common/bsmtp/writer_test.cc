#include "common/bsmtp/writer.h"

#include <gtest/gtest.h>

#include "tests/unit/common/bsmtp/batch_support.h"

namespace bsmtp::batch {
namespace {

TEST(Writer, WritesGreetingItemsAndQuit) {
  EXPECT_EQ(write_batch({item("one\r\n"), item("..\r\n", "")}),
            "EHLO hub.domain.com\r\n" + item("one\r\n") + item("..\r\n", "") + "QUIT\r\n");
  EXPECT_EQ(write_batch({}), "EHLO hub.domain.com\r\nQUIT\r\n");
}

TEST(Writer, RefusesItemsThatWouldBreakOut) {
  const struct {
    const char* name;
    std::string item;
    const char* code;
  } cases[] = {
      {"two transactions in one file", item("a\r\n") + item("b\r\n"), "5.6.0"},
      {"no end dot", "MAIL FROM:<>\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n", "5.6.0"},
      {"QUIT behind the end", item("a\r\n") + "QUIT\r\n", "5.6.0"},
      {"empty file", "", "5.6.0"},
      {"extra command", "RSET\r\n" + item("a\r\n"), "5.6.0"},
      {"bare LF", item("a\n.\nb\r\n"), "5.6.1"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(write_batch({c.item}), c.code) << c.name;
  }
}

TEST(Writer, RefusesAHostThatIsNone) {
  StringSink sink;
  Writer writer(sink, {"hub\r\nMAIL", {}});
  EXPECT_FALSE(writer.begin().is_ok());
  EXPECT_EQ(sink.str(), "");
}

TEST(Writer, CountsWhatItWrote) {
  StringSink sink;
  Writer writer(sink, {"hub.domain.com", {}});
  ASSERT_TRUE(writer.begin().is_ok());
  const std::string text = item("..x\r\n");
  StringSource counted(text);
  const auto info = writer.add_item(counted);
  ASSERT_TRUE(info.is_ok());
  EXPECT_EQ(info->octets, text.size());
  EXPECT_EQ(info->text.octets, 4U);
  EXPECT_EQ(info->envelope.sender, "ann@domain.com");
  ASSERT_TRUE(writer.finish().is_ok());
  EXPECT_EQ(writer.octets(), sink.str().size());
  EXPECT_EQ(writer.messages(), 1U);
}

TEST(InspectItem, TellsTheSameAsTheWriter) {
  const std::string text = item("Subject: x\r\n\r\n..\r\n\xFF\r\n");
  StringSource source(text);
  const auto info = inspect_item(source);
  ASSERT_TRUE(info.is_ok());
  EXPECT_EQ(info->octets, text.size());
  EXPECT_TRUE(info->text.has_8bit);
  StringSource broken("MAIL FROM:<>\r\n");
  EXPECT_EQ(inspect_item(broken).status().code(), "5.6.0");
}

TEST(Writer, PassesTheSinksFailureOn) {
  StringSink tiny(30);
  Writer writer(tiny, {"hub.domain.com", {}});
  ASSERT_TRUE(writer.begin().is_ok());
  const std::string text = item("x\r\n");
  StringSource source(text);
  EXPECT_EQ(writer.add_item(source).status().code(), "5.3.4");
}

// Any batch that the writer makes is read back by the parser, message by message.
TEST(WriterAndParser, RoundTrip) {
  std::vector<std::string> items;
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int line = 0; line < i % 17; ++line) {
      text += (line % 5 == 0 ? ".." : "") +
              std::string(static_cast<std::size_t>(i * line % 120), 'x') + "\r\n";
    }
    texts.push_back(text);
    items.push_back(item(text));
  }
  const Parsed parsed = parse_chunks(test::cut_every(write_batch(items), 4099));
  ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
  ASSERT_EQ(parsed.messages.size(), items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(parsed.messages[i].stuffed, texts[i]);
  }
}

}  // namespace
}  // namespace bsmtp::batch
