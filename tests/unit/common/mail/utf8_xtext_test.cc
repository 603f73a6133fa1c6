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
      {"\uD7FF\uE000\U0010FFFF@x", "\\x{D7FF}\\x{E000}\\x{10FFFF}@x"},
      {"plain@x", "plain@x"},
      {"", ""},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(to_utf8_xtext(c.address), c.text);
    EXPECT_EQ(from_utf8_xtext(c.text), c.address);
  }
}

TEST(Utf8XtextTest, WhatIsNoUtf8HasNoEncoding) {
  for (const char* address : {"\xC3@x", "\xE2\x82", "\x80@x", "\xFF@x",
                              "\xC1\x81@x",             // A, one octet too long
                              "\xE0\x80\xAF@x",         // the same of a slash
                              "\xF0\x82\x82\xAC@x",     // and of the euro
                              "\xED\xBD\xBD@x",         // half a surrogate pair
                              "\xF4\x90\x80\x80@x"}) {  // beyond the last character
    EXPECT_EQ(to_utf8_xtext(address), "") << address;
  }
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
