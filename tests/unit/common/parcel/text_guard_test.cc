#include "common/parcel/text_guard.h"

#include <gtest/gtest.h>

namespace bsmtp::parcel {
namespace {

Result<std::string> guard(std::string_view text, TextGuard::Form form, std::size_t buffer,
                          std::string* digest = nullptr) {
  StringSource from(text);
  TextGuard source(from, form);
  std::string out;
  std::string block(buffer, '\0');
  for (;;) {
    TRY_ASSIGN(const std::size_t got, source.read(block));
    if (got == 0) {
      break;
    }
    out.append(block, 0, got);
  }
  if (digest != nullptr) {
    *digest = source.digest_hex();
  }
  return out;
}

TEST(TextGuard, PassesCleanTextInBothFormsForAnyCut) {
  const std::string text = "a\r\n\r\n" + std::string(998, 'x') + "\r\nlast";
  std::string lf = text;
  std::erase(lf, '\r');
  for (const std::size_t buffer : std::initializer_list<std::size_t>{1, 2, 3, 500, 65536}) {
    std::string digest;
    EXPECT_EQ(guard(text, TextGuard::Form::kCrlf, buffer, &digest).value(), text) << buffer;
    EXPECT_EQ(digest, digest::sha256_hex(text));
    EXPECT_EQ(guard(text, TextGuard::Form::kLf, buffer, &digest).value(), lf) << buffer;
    EXPECT_EQ(digest, digest::sha256_hex(lf)) << "what came out is what is hashed";
  }
  EXPECT_EQ(guard("", TextGuard::Form::kCrlf, 10).value(), "");
}

TEST(TextGuard, RefusesWhatGpgMightNotHash) {
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"bare LF", "a\nb\r\n"},
      {"LF first", "\na"},
      {"bare CR", "a\rb\r\n"},
      {"CR CR LF", "a\r\r\n"},
      {"CR at the end", "a\r\nb\r"},
      {"LF CR", "a\r\n\n\r"},
      {"NUL", std::string("a\0\r\n", 4)},
      {"999 octets", std::string(999, 'x') + "\r\n"},
      {"999 octets without an end", std::string(999, 'x')},
      {"a very long line", std::string(70'000, 'x') + "\r\n"},
  };
  for (const auto& c : kCases) {
    for (const std::size_t buffer : std::initializer_list<std::size_t>{1, 2, 3, 65536}) {
      const auto out = guard(c.text, TextGuard::Form::kCrlf, buffer);
      ASSERT_FALSE(out.is_ok()) << c.name << " " << buffer;
      EXPECT_EQ(out.status().code(), "5.6.0") << c.name;
    }
  }
}

}  // namespace
}  // namespace bsmtp::parcel
