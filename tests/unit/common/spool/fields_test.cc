#include "common/spool/fields.h"

#include <gtest/gtest.h>

namespace bsmtp::spool {
namespace {

TEST(Fields, KeepsOrderUnknownKeysAndOctets) {
  const std::string text = "version: 1\ntoken: ab\nx.future: \xC3\xA4 = b: c\nempty: \n";
  const auto fields = Fields::parse(text, "f");
  ASSERT_TRUE(fields.is_ok()) << fields.status().to_string();
  EXPECT_EQ(fields->get("x.future"), "\xC3\xA4 = b: c");
  EXPECT_EQ(fields->get("empty"), "");
  EXPECT_TRUE(fields->has("empty"));
  EXPECT_FALSE(fields->has("absent"));
  EXPECT_EQ(fields->format(), text);
}

TEST(Fields, SetsReplacesAndErases) {
  Fields fields;
  fields.set("reply", "250 ok\r\nQUIT");
  EXPECT_EQ(fields.get("reply"), "250 ok??QUIT");
  fields.set_number("attempts", 3);
  fields.set_number("attempts", 4);
  EXPECT_EQ(fields.get_number("attempts"), 4U);
  EXPECT_EQ(fields.get_number("reply", 7), 7U);
  const TimePoint when{std::chrono::seconds(1795310000)};
  fields.set_time("next", when);
  EXPECT_EQ(fields.get_time("next"), when);
  EXPECT_FALSE(fields.get_time("attempts"));
  fields.erase("attempts");
  EXPECT_FALSE(fields.has("attempts"));
  EXPECT_TRUE(Fields::parse(fields.format(), "f").is_ok());
}

struct BadCase {
  const char* name;
  std::string text;
};

TEST(Fields, RefusesOtherText) {
  const BadCase cases[] = {
      {"empty", ""},
      {"newer version", "version: 2\n"},
      {"no version", "token: a\n"},
      {"cut short", "version: 1\ntoken: a"},
      {"no colon", "version: 1\ntoken a\n"},
      {"no blank", "version: 1\ntoken:a\n"},
      {"upper case key", "version: 1\nToken: a\n"},
      {"empty key", "version: 1\n: a\n"},
      {"key twice", "version: 1\na: 1\na: 2\n"},
      {"carriage return", "version: 1\na: 1\r\n"},
      {"NUL", std::string("version: 1\na: \0\n", 16)},
      {"too large", "version: 1\na: " + std::string(kMaxFieldsFile, 'x') + "\n"},
  };
  for (const auto& c : cases) {
    const auto fields = Fields::parse(c.text, "the-file");
    ASSERT_FALSE(fields.is_ok()) << c.name;
    EXPECT_TRUE(fields.status().is_temporary()) << c.name;
    EXPECT_NE(fields.status().text().find("the-file"), std::string::npos) << c.name;
  }
}

}  // namespace
}  // namespace bsmtp::spool
