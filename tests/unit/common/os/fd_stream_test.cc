#include "common/os/fd_stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::os {
namespace {

using test::TempDir;

TEST(FileSink, CollectsSmallWritesIntoOneCall) {
  const TempDir dir;
  test::FaultyFileOps ops(dir.path());
  auto file = ops.open(dir / "f", kCreateNew, 0600);
  FileSink sink(ops, *file);
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(sink.write("line\r\n").is_ok());
    expected += "line\r\n";
  }
  EXPECT_TRUE(sink.finish().is_ok());
  EXPECT_EQ(ops.count("write"), 1U);
  EXPECT_EQ(sink.count(), expected.size());
  EXPECT_EQ(test::slurp(dir / "f"), expected);
}

TEST(FileSink, KeepsTheOrderOfSmallAndLargeWrites) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  auto file = ops.open(dir / "f", kCreateNew, 0600);
  FileSink sink(ops, *file);
  const std::string large(3 * kBlockSize, 'L');
  EXPECT_TRUE(sink.write("a").is_ok());
  EXPECT_TRUE(sink.write(large).is_ok());
  EXPECT_TRUE(sink.write("b").is_ok());
  EXPECT_TRUE(sink.finish().is_ok());
  EXPECT_EQ(test::slurp(dir / "f"), "a" + large + "b");
}

TEST(RangeSource, ReadsItsRangeOnly) {
  const TempDir dir;
  test::spit(dir / "f", "0123456789");
  auto file = real_file_ops().open(dir / "f", kReadOnly, 0);
  RangeSource source(real_file_ops(), *file, 2, 5);
  StringSink out;
  EXPECT_EQ(*copy(source, out), 5U);
  EXPECT_EQ(out.str(), "23456");
}

TEST(RangeSource, AShorterFileIsAFailureNotAnEnd) {
  const TempDir dir;
  test::spit(dir / "f", "0123");
  auto file = real_file_ops().open(dir / "f", kReadOnly, 0);
  RangeSource source(real_file_ops(), *file, 2, 5);
  StringSink out;
  EXPECT_TRUE(copy(source, out).status().is_temporary());
}

TEST(FdStreams, PassAPipe) {
  std::array<int, 2> fds{};
  ASSERT_EQ(::pipe(fds.data()), 0);
  const UniqueFd read_end(fds[0]);
  UniqueFd write_end(fds[1]);
  FdSink sink(write_end.get(), "pipe");
  EXPECT_TRUE(sink.write("hello").is_ok());
  EXPECT_TRUE(sink.finish().is_ok());
  write_end.reset();
  FdSource source(read_end.get(), "pipe");
  StringSink out;
  EXPECT_EQ(*copy(source, out), 5U);
  EXPECT_EQ(out.str(), "hello");
}

TEST(FdSource, NamesItsInputWhenReadingFails) {
  FdSource source(-1, "standard input");
  std::array<char, 4> block{};
  const auto n = source.read(block);
  ASSERT_FALSE(n.is_ok());
  EXPECT_NE(n.status().text().find("standard input"), std::string::npos);
}

}  // namespace
}  // namespace bsmtp::os
