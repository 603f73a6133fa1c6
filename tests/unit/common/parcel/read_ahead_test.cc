#include "common/parcel/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace bsmtp::parcel {
namespace {

std::string pattern(std::size_t size) {
  std::string text;
  while (text.size() < size) {
    text += std::to_string(text.size()) + ' ';
  }
  text.resize(size);
  return text;
}

// Gives `data` in pieces, then what `last` says; counts the reads.
class Script final : public Source {
 public:
  Script(std::string data, std::size_t piece, std::function<Result<std::size_t>()> last)
      : data_(std::move(data)), piece_(piece), last_(std::move(last)) {}
  Result<std::size_t> read(std::span<char> out) override {
    ++reads;
    if (given_ == data_.size()) {
      return last_();
    }
    const std::size_t now = std::min({out.size(), piece_, data_.size() - given_});
    std::copy_n(data_.data() + given_, now, out.data());
    given_ += now;
    return now;
  }
  std::atomic<std::size_t> reads = 0;

 private:
  std::string data_;
  std::size_t piece_;
  std::function<Result<std::size_t>()> last_;
  std::size_t given_ = 0;
};

Result<std::size_t> at_end() {
  return std::size_t{0};
}

std::unique_ptr<Script> script(std::string data, std::size_t piece = kBlockSize,
                               std::function<Result<std::size_t>()> last = at_end) {
  return std::make_unique<Script>(std::move(data), piece, std::move(last));
}

// All octets until the end or a failure, which goes to `status`.
std::string drain(Source& source, std::size_t buffer, Status& status) {
  std::string all;
  std::string block(buffer, '\0');
  for (;;) {
    const auto got = source.read(block);
    if (!got.is_ok() || *got == 0) {
      status = got.status();
      return all;
    }
    all.append(block, 0, *got);
  }
}

TEST(ReadAhead, GivesTheSameOctetsForAnySizes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kBlockSize - 1, kBlockSize,
                                 kBlockSize + 1, 10 * kBlockSize + 77}) {
    for (const std::size_t piece : {std::size_t{1000}, kBlockSize}) {
      for (const std::size_t buffer : {std::size_t{999}, kBlockSize, 3 * kBlockSize}) {
        const auto from = script(pattern(size), piece);
        ReadAhead ahead(*from);
        Status status;
        EXPECT_TRUE(drain(ahead, buffer, status) == pattern(size))
            << size << ' ' << piece << ' ' << buffer;
        EXPECT_TRUE(status.is_ok());
      }
    }
  }
}

TEST(ReadAhead, TheEndComesAgainWithoutAnotherRead) {
  const auto from = script("text");
  ReadAhead ahead(*from);
  Status status;
  drain(ahead, 100, status);
  const std::size_t reads = from->reads;
  std::string block(10, '\0');
  EXPECT_EQ(ahead.read(block).value(), 0U);
  EXPECT_EQ(from->reads, reads);
}

TEST(ReadAhead, AFailureComesBehindTheOctetsBeforeIt) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, 7 * kBlockSize}) {
    const auto from = script(pattern(size), kBlockSize, [] {
      return Result<std::size_t>(Status::permanent("5.3.4", "too big"));
    });
    ReadAhead ahead(*from);
    Status status;
    EXPECT_TRUE(drain(ahead, 1000, status) == pattern(size)) << size;
    EXPECT_EQ(status.code(), "5.3.4") << size;
    EXPECT_TRUE(status.is_permanent()) << size;
    std::string block(10, '\0');
    EXPECT_EQ(ahead.read(block).status().code(), "5.3.4") << "a failure stays";
  }
}

TEST(ReadAhead, AnExceptionBecomesATemporaryFailure) {
  const auto from = script(pattern(100), 100, []() -> Result<std::size_t> {
    throw std::runtime_error("no memory for that");
  });
  ReadAhead ahead(*from);
  Status status;
  EXPECT_EQ(drain(ahead, 1000, status).size(), 100U);
  EXPECT_TRUE(status.is_temporary());
  EXPECT_NE(status.text().find("no memory for that"), std::string::npos);
}

TEST(ReadAhead, ReadsNoFurtherThanItsBlocks) {
  const auto from = script(pattern(20 * kBlockSize));
  ReadAhead ahead(*from);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (from->reads < ReadAhead::kBlocks && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(from->reads, ReadAhead::kBlocks);
}

TEST(ReadAhead, CanBeDestroyedAtAnyPoint) {
  for (std::size_t blocks = 0; blocks < 12; ++blocks) {
    const auto from = script(pattern(10 * kBlockSize));
    ReadAhead ahead(*from);
    std::string block(kBlockSize, '\0');
    for (std::size_t i = 0; i < blocks; ++i) {
      ASSERT_TRUE(ahead.read(block).is_ok());
    }
  }
}

// Neither end waits for ever when the other one is the slower.
TEST(ReadAhead, GoesOnWhoeverIsSlow) {
  const std::string text = pattern(40 * kBlockSize);
  const auto pause = [](std::size_t n) {
    if (n % 5 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  {
    const auto from = script(text);
    ReadAhead slow_reader(*from);
    std::string all;
    std::string block(kBlockSize, '\0');
    for (std::size_t n = 0;; ++n) {
      pause(n);
      const std::size_t got = slow_reader.read(block).value();
      if (got == 0) {
        break;
      }
      all.append(block, 0, got);
    }
    EXPECT_TRUE(all == text);
  }
  class SlowSource final : public Source {
   public:
    SlowSource(std::string_view data, const std::function<void(std::size_t)>& wait)
        : from_(data), wait_(wait) {}
    Result<std::size_t> read(std::span<char> out) override {
      wait_(n_++);
      return from_.read(out);
    }

   private:
    StringSource from_;
    const std::function<void(std::size_t)>& wait_;
    std::size_t n_ = 0;
  };
  const std::function<void(std::size_t)> wait = pause;
  SlowSource from(text, wait);
  ReadAhead ahead(from);
  Status status;
  EXPECT_TRUE(drain(ahead, kBlockSize, status) == text);
}

}  // namespace
}  // namespace bsmtp::parcel
