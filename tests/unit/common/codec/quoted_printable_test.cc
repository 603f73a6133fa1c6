#include "common/codec/quoted_printable.h"

#include <gtest/gtest.h>

namespace bsmtp::codec {
namespace {

Result<std::string> decode(std::string_view text) {
  StringSource from(text);
  QuotedPrintableSource source(from);
  StringSink out;
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(source, out));
  return out.take();
}

TEST(QuotedPrintable, Decodes) {
  const struct {
    const char* name;
    std::string in;
    std::string out;
  } kCases[] = {
      {"nothing", "", ""},
      {"plain lines", "a b\r\nc\r\n", "a b\r\nc\r\n"},
      {"escapes in both cases", "=C3=a9=3D\r\n", "\xC3\xA9=\r\n"},
      {"soft line break", "one=\r\ntwo\r\n", "onetwo\r\n"},
      {"soft line break with transport padding", "one= \t\r\ntwo", "onetwo"},
      {"blanks before a line end vanish", "a \t\r\n", "a\r\n"},
      {"an escaped blank stays", "a=20\r\n", "a \r\n"},
      {"LF lines stay LF", "a=\nb\n", "ab\n"},
      {"no last line end", "a\r\nb", "a\r\nb"},
      {"escaped line end", "a=0D=0Ab\r\n", "a\r\nb\r\n"},
  };
  for (const auto& c : kCases) {
    const auto out = decode(c.in);
    ASSERT_TRUE(out.is_ok()) << c.name << out.status().to_string();
    EXPECT_EQ(*out, c.out) << c.name;
  }
}

TEST(QuotedPrintable, RefusesBadEscapesAndEndlessLines) {
  for (const std::string& text : {std::string("=G0\r\n"), std::string("a=4\r\n"),
                                  std::string("==20\r\n"), std::string(2000, 'x')}) {
    EXPECT_EQ(decode(text).status().code(), "5.6.0") << text.substr(0, 10);
  }
}

TEST(QuotedPrintable, DecodesAFullyEscapedText) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += "z\xC3\xBC" + std::to_string(i) + (i % 7 == 0 ? "\r\n" : " ");
  }
  std::string encoded;  // every octet escaped, soft breaks each 25
  int column = 0;
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    encoded += '=';
    encoded += kHex[octet >> 4U];
    encoded += kHex[octet & 15U];
    if (++column == 25) {
      encoded += "=\r\n";
      column = 0;
    }
  }
  EXPECT_EQ(decode(encoded).value(), text);
}

}  // namespace
}  // namespace bsmtp::codec
