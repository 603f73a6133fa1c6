// FaultyFileOps: the kernel's file calls with faults. Calls go to a real directory; beside it a
// model remembers what would survive a power cut: a file's octets as of its last fsync, a
// directory's entries as of its last fsync. So a test can fail the n-th call, stop the "process"
// there, and look at the disk as it could be after the power came back. No call waits for a
// real disk.
// Pessimistic where POSIX promises nothing: a renamed file may afterwards have both names until
// both directories were synced; a renamed directory moves as a whole with the first sync.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/os/file_ops.h"

namespace bsmtp::test {

enum class Survival {
  kOnlySynced,          // nothing but what was fsynced
  kEntriesWithoutData,  // every rename and creation, but only fsynced octets
  kEverything,          // the process died, the machine lives on
};
inline constexpr Survival kSurvivals[] = {Survival::kOnlySynced, Survival::kEntriesWithoutData,
                                          Survival::kEverything};

class FaultyFileOps final : public os::FileOps {
 public:
  // What is below `root` now counts as durable.
  explicit FaultyFileOps(std::string root);

  // The n-th call from now (1 = the next) does nothing and fails with `error`; later ones work.
  void fail_at(std::uint64_t n, int error);
  // The n-th call and all after it do nothing and fail: the process is dead.
  void stop_at(std::uint64_t n);
  std::uint64_t calls() const { return calls_; }
  const std::vector<std::string>& trace() const { return trace_; }
  std::size_t count(const std::string& call) const;  // how often it stands in the trace

  // Writes the disk after a power cut below `target`, a new directory.
  void power_cut(const std::string& target, Survival survival) const;

  Result<os::File> open(const std::string& path, int flags, mode_t mode) override;
  Result<std::size_t> read(os::File& file, std::span<char> out) override;
  Result<std::size_t> read_at(const os::File& file, std::span<char> out,
                              std::uint64_t offset) override;
  Status write(os::File& file, std::string_view data) override;
  Status fsync(os::File& file) override;
  Status close(os::File& file) override;
  Status fsync_dir(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status rename_noreplace(const std::string& from, const std::string& to) override;
  Status unlink(const std::string& path) override;
  Status mkdir(const std::string& path, mode_t mode) override;
  Status rmdir(const std::string& path) override;
  Status chmod(const std::string& path, mode_t mode) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<os::FileInfo> stat(const std::string& path) override;
  Result<os::FileInfo> stat(const os::File& file) override;
  Result<os::FileSystemInfo> file_system(const std::string& path) override;
  Status lock(os::File& file) override;
  Result<bool> try_lock(os::File& file) override;

 private:
  struct Entry {
    std::uint64_t inode = 0;
    bool is_directory = false;
  };
  using Entries = std::map<std::string, Entry>;
  struct DirectoryMove {
    std::uint64_t from_dir, to_dir;
    std::string from_name, to_name;
    std::uint64_t inode;
  };

  // Counts the call; not ok when it must fail.
  Status step(const std::string& call, const std::string& path);
  void keep(const std::string& path);  // so that no inode number is used twice
  void remember_tree(const std::string& dir);
  Entries entries_of(const std::string& dir) const;
  void note_move(const std::string& from, const std::string& to);
  void sync_directory(const std::string& path);
  void write_durable(const std::string& target, const Entries& entries) const;
  void write_current(const std::string& source, const std::string& target, bool all_data) const;
  std::string content_of(std::uint64_t inode) const;

  os::FileOps& real_;
  std::string root_;
  std::uint64_t calls_ = 0;
  std::uint64_t fail_at_ = 0;
  std::uint64_t stop_at_ = 0;
  int error_ = 0;
  std::vector<std::string> trace_;
  std::vector<UniqueFd> kept_;
  std::map<std::uint64_t, std::string> synced_data_;
  std::map<std::uint64_t, Entries> synced_entries_;
  std::vector<DirectoryMove> moves_;
};

}  // namespace bsmtp::test
