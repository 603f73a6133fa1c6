#include "common/codec/gzip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/support/test_keyring.h"

namespace bsmtp::codec {
namespace {

std::string pack(std::string_view data, int level = 6, std::size_t piece = 65536) {
  StringSink out(1U << 27U);
  GzipSink gzip(out, level);
  for (std::size_t i = 0; i < data.size(); i += piece) {
    EXPECT_TRUE(gzip.write(data.substr(i, piece)).is_ok());
  }
  EXPECT_TRUE(gzip.finish().is_ok());
  return out.take();
}

// Gives at most `most` octets at a time.
class Slow final : public Source {
 public:
  Slow(std::string_view data, std::size_t most) : from_(data), most_(most) {}
  Result<std::size_t> read(std::span<char> out) override {
    return from_.read(out.first(std::min(out.size(), most_)));
  }

 private:
  StringSource from_;
  std::size_t most_;
};

Result<std::string> unpack_by(InflateEngine engine, std::string_view data,
                              const InflateLimits& limits, std::size_t piece = kBlockSize) {
  Slow from(data, piece);
  GunzipSource gunzip(from, limits, engine);
  StringSink out(1U << 27U);
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(gunzip, out));
  EXPECT_EQ(gunzip.octets_in(), data.size());
  EXPECT_EQ(gunzip.octets_out(), out.str().size());
  return out.take();
}

// By both engines, which must say the same.
Result<std::string> unpack(std::string_view data, const InflateLimits& limits = {},
                           std::size_t piece = kBlockSize) {
  auto out = unpack_by(InflateEngine::kZlib, data, limits, piece);
  const auto fast = unpack_by(InflateEngine::kFast, data, limits, piece);
  EXPECT_EQ(fast.status().to_string(), out.status().to_string());
  if (out.is_ok() && fast.is_ok()) {
    EXPECT_TRUE(*fast == *out);
  }
  return out;
}

std::string changed(std::string data, std::size_t at, unsigned bits = 1) {
  data[at] = static_cast<char>(static_cast<unsigned char>(data[at]) ^ bits);
  return data;
}

std::uint32_t crc32_of(std::string_view data) {  // RFC 1952 8
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? 0xEDB88320U ^ crc >> 1U : crc >> 1U;
    }
  }
  return ~crc;
}

std::string text_of(std::size_t size) {
  std::mt19937 random(3);
  std::string text;
  while (text.size() < size) {
    text += "line " + std::to_string(random() % 1000) + " of some mail\r\n";
  }
  return text;
}

TEST(Gzip, RoundTripsAtEveryLevelAndCut) {
  const std::string text = text_of(300'000);
  for (int level = 1; level <= 9; ++level) {
    const auto back = unpack(pack(text, level, 1 + static_cast<std::size_t>(level) * 1000));
    ASSERT_TRUE(back.is_ok()) << level;
    EXPECT_EQ(*back, text) << level;
  }
  EXPECT_EQ(unpack(pack("")).value(), "");
}

TEST(Gzip, HeaderHasNoNameAndTimeZero) {
  const std::string packed = pack("x");
  ASSERT_GT(packed.size(), 10U);
  EXPECT_EQ(packed.substr(0, 8), std::string("\x1f\x8b\x08\0\0\0\0\0", 8));  // RFC 1952 2.3
}

TEST(Gzip, GunzipProgramReadsOursAndWeReadGzips) {
  const std::string text = text_of(100'000);
  const auto theirs = test::run_command({"gzip", "-dc"}, pack(text));
  ASSERT_EQ(theirs.code, 0) << theirs.err;
  EXPECT_EQ(theirs.out, text);
  const auto packed = test::run_command({"gzip", "-c"}, text);
  EXPECT_EQ(unpack(packed.out).value(), text);
}

TEST(GunzipSource, AcceptsSeveralMembers) {
  const auto back = unpack(pack("one ") + pack("") + pack("two"));
  ASSERT_TRUE(back.is_ok()) << back.status().to_string();
  EXPECT_EQ(*back, "one two");
}

TEST(GunzipSource, RefusesWhatIsNoGzip) {
  const std::string good = pack("some text");
  const struct {
    const char* name;
    std::string data;
  } kCases[] = {
      {"nothing", ""},
      {"plain text", "Content-Type: text/plain\r\n"},
      {"garbage behind the end", good + "garbage"},
      {"one NUL behind the end", good + std::string(1, '\0')},
      {"a wrong checksum", changed(good, good.size() - 6)},
      {"an octet changed in the deflated data", changed(good, 12)},
      {"a wrong length", changed(good, good.size() - 1)},
      {"another method than deflate", changed(good, 2)},
      {"a reserved flag", changed(good, 3, 0x20)},
      {"zlib instead of gzip", std::string("\x78\x9c\x03\x00\x00\x00\x00\x01", 8)},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, kBlockSize}) {
      const auto out = unpack(c.data, {}, piece);
      ASSERT_FALSE(out.is_ok()) << piece;
      EXPECT_EQ(out.status().code(), "5.6.0") << piece;
    }
  }
}

TEST(GunzipSource, SaysThatOctetsStandBehindTheEnd) {
  const auto out = unpack(pack("some text") + "garbage");
  EXPECT_NE(out.status().text().find("behind the end"), std::string::npos);
}

// RFC 1952 2.3: extra field, name, comment and header checksum, as other programs may write them.
TEST(GunzipSource, SkipsHeaderFieldsWhereverTheInputIsCut) {
  const std::string plain = pack(text_of(2000));
  for (unsigned flags = 0; flags < 32; ++flags) {
    std::string header = plain.substr(0, 10);
    header[3] = static_cast<char>(flags);
    header += (flags & 4U) != 0 ? std::string("\x05\0extra", 7) : "";
    header += (flags & 8U) != 0 ? std::string("file.bsmtp\0", 11) : "";
    header += (flags & 16U) != 0 ? std::string("a comment\0", 10) : "";
    if ((flags & 2U) != 0) {
      const std::uint32_t sum = crc32_of(header);
      header += static_cast<char>(sum & 255U);
      header += static_cast<char>(sum >> 8U & 255U);
    }
    const std::string whole = header + plain.substr(10);
    for (const std::size_t piece : {1U, 2U, 3U, 5U, 11U, 100U}) {
      const auto out = unpack(whole + whole, {}, piece);
      ASSERT_TRUE(out.is_ok()) << flags << ' ' << piece << ' ' << out.status().to_string();
      EXPECT_EQ(*out, text_of(2000) + text_of(2000));
    }
    if ((flags & 2U) != 0) {
      EXPECT_FALSE(unpack(changed(whole, header.size() - 1)).is_ok()) << flags;
    }
  }
}

// Damage anywhere is found, at the latest by the checksum, and neither engine hangs on it.
TEST(GunzipSource, FindsEveryChangedOctet) {
  const std::string good = pack(text_of(3000));
  for (std::size_t at = 10; at < good.size(); ++at) {
    if (at == good.size() - 9) {
      continue;  // padding bits
    }
    for (const unsigned bits : {1U, 0x80U, 0xFFU}) {
      for (const InflateEngine engine : {InflateEngine::kZlib, InflateEngine::kFast}) {
        EXPECT_FALSE(unpack_by(engine, changed(good, at, bits), {}).is_ok()) << at << ' ' << bits;
      }
    }
  }
}

TEST(GunzipSource, ReadsMuchInMembersOfManyShapes) {
  std::mt19937 random(5);
  std::string noise(200'000, '\0');
  for (char& c : noise) {
    c = static_cast<char>(random());  // deflate stores these
  }
  const std::string text = text_of(400'000);
  const std::string all = pack(noise) + pack(text, 1) + pack("") + pack(std::string(300'000, 'z'));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, kBlockSize}) {
    EXPECT_TRUE(unpack(all, {}, piece).value() == noise + text + std::string(300'000, 'z'));
  }
}

TEST(GunzipSource, RefusesEveryTruncation) {
  const std::string good = pack("first member") + pack(text_of(5000));
  const std::size_t first = pack("first member").size();
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    const auto out = unpack(std::string_view(good).substr(0, cut));
    EXPECT_EQ(out.is_ok(), cut == first) << "cut at " << cut;
  }
}

TEST(GunzipSource, StopsABombAtTheRatio) {
  const std::string bomb = pack(std::string(64U << 20U, '\0'), 9);
  InflateLimits limits;
  limits.max_ratio = 200;
  for (const InflateEngine engine : {InflateEngine::kZlib, InflateEngine::kFast}) {
    StringSource from(bomb);
    GunzipSource gunzip(from, limits, engine);
    CountingSink out(nullptr);
    const auto size = copy(gunzip, out);
    ASSERT_FALSE(size.is_ok());
    EXPECT_EQ(size.status().code(), "5.3.4");
    EXPECT_LE(out.count(), std::max<std::uint64_t>(limits.free_bytes, bomb.size() * 200));
  }
}

TEST(GunzipSource, StopsAtTheAbsoluteLimit) {
  InflateLimits limits;
  limits.max_bytes = 1000;
  EXPECT_EQ(unpack(pack(std::string(1000, 'x')), limits).value().size(), 1000U);
  const auto over = unpack(pack(std::string(1001, 'x')), limits);
  ASSERT_FALSE(over.is_ok());
  EXPECT_EQ(over.status().code(), "5.3.4");
}

TEST(GunzipSource, SmallHighlyCompressibleDataAreNoBomb) {
  EXPECT_TRUE(unpack(pack(std::string(1U << 20U, 'x'))).is_ok());
}

TEST(GunzipSource, DoesNotUnpackGzipInsideGzip) {
  const std::string inner = pack("text");
  EXPECT_EQ(unpack(pack(inner)).value(), inner);
}

TEST(GunzipSource, PassesOnTheFailureOfItsSource) {
  class Broken final : public Source {
    Result<std::size_t> read(std::span<char> /*out*/) override {
      return Status::temporary("4.3.0", "disk");
    }
  } broken;
  GunzipSource gunzip(broken, {});
  std::string block(100, '\0');
  EXPECT_TRUE(gunzip.read(block).status().is_temporary());
}

}  // namespace
}  // namespace bsmtp::codec
