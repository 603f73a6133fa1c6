#include "common/codec/base64.h"

#include <gtest/gtest.h>

#include <random>

namespace bsmtp::codec {
namespace {

std::string random_octets(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string data(size, '\0');
  for (char& c : data) {
    c = static_cast<char>(random());
  }
  return data;
}

std::string encode_lines(std::string_view data, std::size_t piece) {
  StringSink out(1U << 26U);
  Base64Sink sink(out);
  for (std::size_t i = 0; i < data.size(); i += piece) {
    EXPECT_TRUE(sink.write(data.substr(i, piece)).is_ok());
  }
  EXPECT_TRUE(sink.finish().is_ok());
  return out.take();
}

// A Source that gives at most `piece` octets at a time.
class Dribble final : public Source {
 public:
  Dribble(std::string_view data, std::size_t piece) : from_(data), piece_(piece) {}
  Result<std::size_t> read(std::span<char> out) override {
    return from_.read(out.first(std::min(out.size(), piece_)));
  }

 private:
  StringSource from_;
  std::size_t piece_;
};

Result<std::string> decode(std::string_view text, std::size_t piece, std::size_t reads) {
  Dribble from(text, piece);
  Base64DecodeSource source(from);
  std::string out;
  std::string block(reads, '\0');
  for (;;) {
    TRY_ASSIGN(const std::size_t got, source.read(block));
    if (got == 0) {
      return out;
    }
    out.append(block, 0, got);
  }
}

TEST(Base64, EncodesTheVectorsOfRfc4648) {
  EXPECT_EQ(base64_encode(""), "");
  EXPECT_EQ(base64_encode("f"), "Zg==");
  EXPECT_EQ(base64_encode("fo"), "Zm8=");
  EXPECT_EQ(base64_encode("foo"), "Zm9v");
  EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
}

TEST(Base64Sink, WritesLinesOf76EndedByCrlf) {
  const std::string text = encode_lines(std::string(58, '\0'), 58);
  EXPECT_EQ(text, std::string(76, 'A') + "\r\nAA==\r\n");
  EXPECT_EQ(encode_lines(std::string(57, '\0'), 57), std::string(76, 'A') + "\r\n");
}

TEST(Base64Sink, OutputDoesNotDependOnHowTheInputIsCut) {
  const std::string data = random_octets(200'000, 1);
  const std::string whole = encode_lines(data, data.size());
  for (const std::size_t piece :
       std::initializer_list<std::size_t>{1, 2, 3, 56, 57, 58, 1000, 65536}) {
    EXPECT_EQ(encode_lines(data, piece), whole) << "pieces of " << piece;
  }
}

TEST(Base64, RoundTripsEveryLengthAndCut) {
  for (std::size_t size = 0; size < 260; ++size) {
    const std::string data = random_octets(size, static_cast<unsigned>(size));
    const std::string text = encode_lines(data, 64);
    for (const std::size_t piece : std::initializer_list<std::size_t>{1, 2, 3, 5, 77, 4096}) {
      for (const std::size_t reads : std::initializer_list<std::size_t>{1, 2, 3, 7, 4096}) {
        const auto back = decode(text, piece, reads);
        ASSERT_TRUE(back.is_ok()) << size << " " << back.status().to_string();
        ASSERT_EQ(*back, data) << size << " octets, pieces of " << piece << ", reads of " << reads;
      }
    }
  }
}

TEST(Base64, RoundTripsAMegabyte) {
  const std::string data = random_octets(1'000'003, 7);
  const auto back = decode(encode_lines(data, 65536), 65536, 65536);
  ASSERT_TRUE(back.is_ok());
  EXPECT_EQ(*back, data);
}

TEST(Base64DecodeSource, AcceptsLfLinesAndUnevenOnes) {
  EXPECT_EQ(base64_decode("Zm\n9vY\nmFy\n").value(), "foobar");
  EXPECT_EQ(base64_decode("Zg=\r\n=\r\n\r\n").value(), "f");
}

TEST(Base64DecodeSource, RefusesWhatIsNotBase64) {
  const struct {
    const char* name;
    const char* text;
  } kCases[] = {
      {"a blank", "Zm9v YmFy"},
      {"a hyphen", "Zm9-"},
      {"NUL-like octet", "Zm9\x01"},
      {"8-bit octet", "Zm9\xC3"},
      {"missing padding", "Zg"},
      {"half the padding", "Zg="},
      {"too much padding", "Zg==="},
      {"padding first", "=Zg="},
      {"padding after one", "Z==="},
      {"padding after a full group", "Zm9v="},
      {"data behind padding", "Zg==Zg=="},
      {"data behind padding and a line end", "Zm8=\r\nZm8="},
      {"unused bits after two", "Zh=="},
      {"unused bits after three", "Zm9="},
      {"bare CR", "Zm\r9v"},
      {"CR CR LF", "Zm9v\r\r\n"},
      {"CR at the end", "Zm9v\r"},
  };
  for (const auto& c : kCases) {
    for (const std::size_t piece : std::initializer_list<std::size_t>{1, 3, 64}) {
      const auto out = decode(c.text, piece, 64);
      ASSERT_FALSE(out.is_ok()) << c.name;
      EXPECT_EQ(out.status().code(), "5.6.0") << c.name;
    }
  }
}

TEST(Base64DecodeSource, EveryTruncationOfAPaddedTextIsEitherRefusedOrAWholeGroup) {
  const std::string text = base64_encode("foobar, and more") + "\r\n";
  for (std::size_t cut = 0; cut < text.size(); ++cut) {
    const auto out = decode(std::string_view(text).substr(0, cut), 64, 64);
    if (out.is_ok()) {
      EXPECT_TRUE(cut % 4 == 0) << cut;
    }
  }
}

}  // namespace
}  // namespace bsmtp::codec
