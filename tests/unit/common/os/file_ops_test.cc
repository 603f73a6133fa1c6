#include "common/os/file_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::os {
namespace {

using test::names_in;
using test::slurp;
using test::spit;
using test::TempDir;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(FileOps, WhatIsNoOrdinaryFileIsNotRead) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  spit(dir / "f", "x");
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink((dir / "f").c_str(), (dir / "link").c_str()), 0);
  ASSERT_EQ(::symlink("/dev/zero", (dir / "device").c_str()), 0);
  for (const auto& [name, error] :
       {std::pair{"fifo", ENXIO}, {"link", ELOOP}, {"device", ELOOP}, {"", EISDIR}}) {
    const auto opened = ops.open(dir / name, kReadOnly, 0);  // and does not wait for a writer
    EXPECT_EQ(opened.status().error_number(), error) << name;
    EXPECT_TRUE(is_no_ordinary_file(opened.status())) << name;
  }
  EXPECT_FALSE(is_no_ordinary_file(ops.open(dir / "absent", kReadOnly, 0).status()));
  EXPECT_FALSE(is_no_ordinary_file(ops.open(dir / "f", kReadOnly, 0).status()));
}

TEST(FileOps, LinkToADirectoryIsNotListed) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  ASSERT_TRUE(ops.mkdir(dir / "d", 0700).is_ok());
  spit(dir / "d/f", "x");
  ASSERT_EQ(::symlink((dir / "d").c_str(), (dir / "link").c_str()), 0);
  EXPECT_THAT(*ops.list(dir / "d"), ElementsAre("f"));
  EXPECT_EQ(ops.list(dir / "link").status().error_number(), ENOTDIR);
  EXPECT_TRUE(remove_tree(ops, dir / "link").is_ok());
  EXPECT_EQ(slurp(dir / "d/f"), "x");
}

TEST(FileOps, WritesSyncsAndReadsBack) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  auto file = ops.open(dir / "f", kCreateNew, 0600);
  ASSERT_TRUE(file.is_ok());
  const std::string data(200000, 'x');
  EXPECT_TRUE(ops.write(*file, data).is_ok());
  EXPECT_TRUE(ops.fsync(*file).is_ok());
  EXPECT_EQ(ops.stat(*file)->size, data.size());
  EXPECT_TRUE(ops.close(*file).is_ok());
  EXPECT_EQ(*read_file(ops, dir / "f", 1U << 20U), data);
  auto reader = ops.open(dir / "f", kReadOnly, 0);
  std::array<char, 4> some{};
  EXPECT_EQ(*ops.read_at(*reader, some, data.size() - 2), 2U);
}

TEST(FileOps, FailuresNameThePathAndKeepErrno) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  const Status missing = ops.open(dir / "none", kReadOnly, 0).status();
  EXPECT_EQ(missing.error_number(), ENOENT);
  EXPECT_THAT(missing.text(), HasSubstr(dir / "none"));
  spit(dir / "there", "");
  EXPECT_EQ(ops.open(dir / "there", kCreateNew, 0600).status().error_number(), EEXIST);
  ASSERT_EQ(::symlink((dir / "there").c_str(), (dir / "link").c_str()), 0);
  EXPECT_EQ(ops.open(dir / "link", kReadOnly, 0).status().error_number(), ELOOP);
  EXPECT_EQ(ops.rmdir(dir.path() + "/there").error_number(), ENOTDIR);
}

TEST(FileOps, RenameNoReplaceKeepsWhatIsThere) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  spit(dir / "a", "new");
  spit(dir / "b", "old");
  EXPECT_EQ(ops.rename_noreplace(dir / "a", dir / "b").error_number(), EEXIST);
  EXPECT_EQ(slurp(dir / "b"), "old");
  EXPECT_TRUE(ops.rename(dir / "a", dir / "b").is_ok());
  EXPECT_EQ(slurp(dir / "b"), "new");
}

TEST(FileOps, LocksExcludeEachOtherUntilClosed) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  auto first = ops.open(dir.path(), kDirectory, 0);
  auto second = ops.open(dir.path(), kDirectory, 0);
  EXPECT_TRUE(*ops.try_lock(*first));
  EXPECT_FALSE(*ops.try_lock(*second));
  EXPECT_TRUE(ops.close(*first).is_ok());
  EXPECT_TRUE(*ops.try_lock(*second));
}

// While another thread forks, its child has the locked file too, for a moment.
TEST(FileOps, ALockEndsWithItsOwnerThoughACopyOfTheDescriptorLives) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  auto other = ops.open(dir.path(), kDirectory, 0);
  UniqueFd copy;
  {
    auto first = ops.open(dir.path(), kDirectory, 0);
    EXPECT_TRUE(*ops.try_lock(*first));
    copy.reset(::dup(first->fd()));
    File moved = std::move(first).value();
    EXPECT_FALSE(*ops.try_lock(*other));
  }
  EXPECT_TRUE(*ops.try_lock(*other));
}

TEST(FileOps, TellsFreeSpaceAndRemoteFileSystems) {
  const TempDir dir;
  const auto info = real_file_ops().file_system(dir.path());
  ASSERT_TRUE(info.is_ok());
  EXPECT_LE(info->free_percent, 100U);
  EXPECT_FALSE(info->is_remote());
  FileSystemInfo nfs;
  nfs.type = 0x6969;
  EXPECT_TRUE(nfs.is_remote());
  nfs.type = static_cast<std::int64_t>(static_cast<std::int32_t>(0xFF534D42));  // sign-extended
  EXPECT_TRUE(nfs.is_remote());
}

TEST(EnsureDirectory, GivesTheExactModeWhateverTheUmask) {
  const TempDir dir;
  const mode_t old = ::umask(077);
  EXPECT_TRUE(ensure_directory(real_file_ops(), dir / "d", 02770).is_ok());
  ::umask(old);
  EXPECT_EQ(real_file_ops().stat(dir / "d")->mode, 02770U);
  EXPECT_TRUE(ensure_directory(real_file_ops(), dir / "d", 02770).is_ok());
  spit(dir / "f", "");
  EXPECT_TRUE(ensure_directory(real_file_ops(), dir / "f", 0700).is_temporary());
}

TEST(EnsureDirectory, LeavesNothingWithTheWrongModeBehind) {
  const TempDir dir;
  test::FaultyFileOps ops(dir.path());
  ops.fail_at(2, EIO);  // the first is mkdir
  EXPECT_TRUE(ensure_directory(ops, dir / "d", 0750).is_temporary());
  EXPECT_THAT(names_in(dir.path()), IsEmpty());
}

TEST(RemoveTree, RemovesAllAndAcceptsNothing) {
  const TempDir dir;
  FileOps& ops = real_file_ops();
  EXPECT_TRUE(remove_tree(ops, dir / "t").is_ok());
  EXPECT_TRUE(ops.mkdir(dir / "t", 0700).is_ok());
  EXPECT_TRUE(ops.mkdir(dir / "t/u", 0700).is_ok());
  spit(dir / "t/u/f", "x");
  spit(dir / "out", "stays");
  ASSERT_EQ(::symlink((dir / "out").c_str(), (dir / "t/link").c_str()), 0);
  EXPECT_TRUE(remove_tree(ops, dir / "t").is_ok());
  EXPECT_THAT(names_in(dir.path()), ElementsAre("out"));
}

TEST(ReadFile, RefusesMoreThanItsLimit) {
  const TempDir dir;
  spit(dir / "f", std::string(100, 'x'));
  EXPECT_TRUE(read_file(real_file_ops(), dir / "f", 100).is_ok());
  EXPECT_TRUE(read_file(real_file_ops(), dir / "f", 99).status().is_temporary());
}

TEST(WriteFileAtomically, LeavesTheOldFileAndNoTraceWhenAnyCallFails) {
  for (std::uint64_t n = 1; n <= 5; ++n) {  // open, write, fsync, close, rename
    const TempDir dir;
    spit(dir / "state", "old");
    test::FaultyFileOps ops(dir.path());
    ops.fail_at(n, ENOSPC);
    const Status status = write_file_atomically(ops, dir.path(), dir.path(), "state", "new");
    EXPECT_TRUE(status.is_temporary());
    EXPECT_EQ(status.code(), "4.3.1");
    EXPECT_EQ(slurp(dir / "state"), "old") << n;
    EXPECT_THAT(names_in(dir.path()), ElementsAre("state")) << n;
  }
}

TEST(WriteFileAtomically, SurvivesAPowerCut) {
  const TempDir dir;
  spit(dir / "state", "old");
  test::FaultyFileOps ops(dir.path());
  ASSERT_TRUE(write_file_atomically(ops, dir.path(), dir.path(), "state", "new").is_ok());
  const TempDir disk;
  ops.power_cut(disk / "after", test::Survival::kOnlySynced);
  EXPECT_EQ(slurp(disk / "after/state"), "new");
}

}  // namespace
}  // namespace bsmtp::os
