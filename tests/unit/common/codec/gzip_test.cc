#include "common/codec/gzip.h"

#include <gtest/gtest.h>

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

Result<std::string> unpack(std::string_view data, const InflateLimits& limits = {}) {
  StringSource from(data);
  GunzipSource gunzip(from, limits);
  StringSink out(1U << 27U);
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(gunzip, out));
  return out.take();
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
  std::string bad_sum = good;
  bad_sum[good.size() - 6] = static_cast<char>(bad_sum[good.size() - 6] + 1);
  const struct {
    const char* name;
    std::string data;
  } kCases[] = {
      {"nothing", ""},
      {"plain text", "Content-Type: text/plain\r\n"},
      {"garbage behind the end", good + "garbage"},
      {"one NUL behind the end", good + std::string(1, '\0')},
      {"a wrong checksum", bad_sum},
      {"zlib instead of gzip", std::string("\x78\x9c\x03\x00\x00\x00\x00\x01", 8)},
  };
  for (const auto& c : kCases) {
    const auto out = unpack(c.data);
    ASSERT_FALSE(out.is_ok()) << c.name;
    EXPECT_EQ(out.status().code(), "5.6.0") << c.name;
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
  StringSource from(bomb);
  InflateLimits limits;
  limits.max_ratio = 200;
  GunzipSource gunzip(from, limits);
  CountingSink out(nullptr);
  const auto size = copy(gunzip, out);
  ASSERT_FALSE(size.is_ok());
  EXPECT_EQ(size.status().code(), "5.3.4");
  EXPECT_LE(out.count(), std::max<std::uint64_t>(limits.free_bytes, bomb.size() * 200));
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
