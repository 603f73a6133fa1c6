#include "common/base/stream.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace bsmtp {
namespace {

// Remembers the size of each write; fails from the n-th on when asked.
class BlockSink final : public Sink {
 public:
  explicit BlockSink(std::size_t good = SIZE_MAX) : good_(good) {}
  Status write(std::string_view data) override {
    if (sizes.size() == good_) {
      return Status::temporary("4.3.1", "full");
    }
    sizes.push_back(data.size());
    text += data;
    return Status::ok();
  }
  std::vector<std::size_t> sizes;
  std::string text;

 private:
  std::size_t good_;
};

class FailingSource final : public Source {
 public:
  Result<std::size_t> read(std::span<char> /*out*/) override {
    return Status::temporary("4.3.0", "unreadable");
  }
};

TEST(StringSource, GivesAllInPiecesAndThenTheEnd) {
  StringSource source("abcdefg");
  std::array<char, 3> out{};
  std::string got;
  for (const std::size_t expected : {3U, 3U, 1U, 0U, 0U}) {
    const auto n = source.read(out);
    ASSERT_EQ(*n, expected);
    got.append(out.data(), *n);
  }
  EXPECT_EQ(got, "abcdefg");
  StringSource empty{std::string_view()};
  EXPECT_EQ(*empty.read(out), 0U);
}

TEST(StringSink, TakesUpToItsLimitAndNoOctetMore) {
  StringSink sink(5);
  EXPECT_TRUE(sink.write("abc").is_ok());
  EXPECT_TRUE(sink.write("de").is_ok());
  EXPECT_TRUE(sink.write("").is_ok());
  const Status over = sink.write("f");
  EXPECT_TRUE(over.is_permanent());
  EXPECT_EQ(over.code(), "5.3.4");
  EXPECT_EQ(sink.take(), "abcde");
}

TEST(CountingSink, CountsWithAndWithoutASinkBehindIt) {
  BlockSink block;
  CountingSink passing(&block);
  CountingSink alone(nullptr);
  for (CountingSink* sink : {&passing, &alone}) {
    EXPECT_TRUE(sink->write("abc").is_ok());
    EXPECT_TRUE(sink->write("de").is_ok());
    EXPECT_EQ(sink->count(), 5U);
  }
  EXPECT_EQ(block.text, "abcde");
}

TEST(BufferedSink, MakesBlocksOfSmallWritesAndPassesLargeOnesOn) {
  BlockSink block;
  BufferedSink sink(block);
  const std::string line(1000, 'x');
  std::string all;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(sink.write(line).is_ok());
    all += line;
  }
  EXPECT_EQ(block.sizes.size(), 3U) << "65 lines of 1000 octets fit into a block";
  const std::string large(kBlockSize, 'y');
  ASSERT_TRUE(sink.write(large).is_ok());
  all += large;
  EXPECT_EQ(block.sizes.back(), kBlockSize);
  ASSERT_TRUE(sink.write("end").is_ok());
  ASSERT_TRUE(sink.finish().is_ok());
  ASSERT_TRUE(sink.finish().is_ok()) << "nothing left: no write";
  EXPECT_EQ(block.sizes.back(), 3U);
  EXPECT_EQ(block.text, all + "end");
}

TEST(BufferedSink, PassesTheFailureOn) {
  BlockSink block(0);
  BufferedSink sink(block);
  EXPECT_TRUE(sink.write("abc").is_ok());
  EXPECT_EQ(sink.flush().text(), "full");
}

TEST(Copy, CountsAndStopsAtTheFirstFailureOfEitherSide) {
  const std::string text(3 * kBlockSize + 5, 'z');
  BlockSink block;
  StringSource source(text);
  EXPECT_EQ(*copy(source, block), text.size());
  EXPECT_EQ(block.text, text);

  BlockSink full(1);
  StringSource again(text);
  EXPECT_EQ(copy(again, full).status().text(), "full");
  EXPECT_EQ(full.text.size(), kBlockSize);

  FailingSource bad;
  BlockSink none;
  EXPECT_EQ(copy(bad, none).status().text(), "unreadable");
  EXPECT_TRUE(none.sizes.empty());
}

}  // namespace
}  // namespace bsmtp
