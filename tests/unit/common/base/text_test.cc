#include "common/base/text.h"

#include <gtest/gtest.h>

namespace bsmtp {
namespace {

TEST(Text, PrintableReplacesEverythingThatCouldForgeOutput) {
  struct Case {
    const char* name;
    std::string in;
    std::string out;
  };
  const Case cases[] = {
      {"plain", "abc", "abc"},
      {"utf8 kept", "gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
      {"newline", "a\r\nb", "a??b"},
      {"nul", std::string("a\0b", 3), "a?b"},
      {"lone continuation", "a\x80z", "a?z"},
      {"overlong slash", "\xC0\xAF", "??"},
      {"surrogate", "\xED\xA0\x80", "???"},
      {"C1 control", "\xC2\x9B", "?"},
      {"right-to-left override", "\xE2\x80\xAE", "?"},
      {"line separator", "\xE2\x80\xA8", "?"},
      {"truncated sequence", "\xE2\x82", "??"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(printable(c.in), c.out) << c.name;
  }
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("ab\xC3\xBC", 3), "ab...") << "never half a character";
}

TEST(Text, JsonQuoteEscapes) {
  EXPECT_EQ(json_quote("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\u000a\\u0001\"");
  EXPECT_EQ(json_quote("\xFF"), "\"\\ufffd\"");
}

TEST(Text, SplitKeepsEmptyFieldsAndSplitBlankDropsThem) {
  EXPECT_EQ(split("a,,b", ',').size(), 3U);
  EXPECT_EQ(split("", ',').size(), 1U);
  EXPECT_EQ(split_blank("  a \t b ").size(), 2U);
  EXPECT_TRUE(split_blank(" ").empty());
}

TEST(Text, NumbersAreWholeStrings) {
  EXPECT_EQ(parse_u64("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", "-1", "+1", "1 ", "18446744073709551616", "0x10"}) {
    EXPECT_FALSE(parse_u64(bad).has_value()) << bad;
  }
}

TEST(Text, CaseFoldingIsAsciiOnly) {
  EXPECT_TRUE(iequals("DOMAIN.com", "domain.COM"));
  EXPECT_FALSE(iequals("\xC3\x84", "\xC3\xA4"));
  EXPECT_TRUE(istarts_with("Never.x", "never."));
  EXPECT_TRUE(iends_with("x.BSMTP.invalid", ".bsmtp.INVALID"));
  EXPECT_EQ(edit_distance("max-mesages", "max-messages"), 1U);
}

}  // namespace
}  // namespace bsmtp
