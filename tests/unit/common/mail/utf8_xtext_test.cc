#include "common/mail/utf8_xtext.h"

#include <gtest/gtest.h>

namespace bsmtp::mail {
namespace {

TEST(Utf8XtextTest, BothWays) {
  const struct {
    const char* address;
    const char* text;
  } cases[] = {
      {"\u00FCser@domain.com", "\\x{FC}ser@domain.com"},
      {"\u20AC\\+=@x", "\\x{20AC}\\x{5C}\\x{2B}\\x{3D}@x"},
      {"\U0001F600@b\u00FCcher.x", "\\x{1F600}@b\\x{FC}cher.x"},
      {"plain@x", "plain@x"},
      {"", ""},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(to_utf8_xtext(c.address), c.text);
    EXPECT_EQ(from_utf8_xtext(c.text), c.address);
  }
}

TEST(Utf8XtextTest, WhatIsNoUtf8HasNoEncoding) {
  EXPECT_EQ(to_utf8_xtext("\xC3@x"), "");
}

TEST(Utf8XtextTest, UnitextIsTakenAsItStands) {
  EXPECT_EQ(from_utf8_xtext("\u00FCser\\x{2B}x@x"), "\u00FCser+x@x");
  EXPECT_EQ(from_utf8_xtext("a\\b@x"), "a\\b@x");
  EXPECT_EQ(from_utf8_xtext("\\x{fc}@x"), "\u00FC@x");
}

TEST(Utf8XtextTest, EscapesOfNoCharacter) {
  for (const char* text : {"\\x{", "\\x{}", "\\x{G}", "\\x{0}", "\\x{D800}", "\\x{110000}",
                           "\\x{0000041}", "\\x{41"}) {
    EXPECT_EQ(from_utf8_xtext(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace bsmtp::mail
