#include "tests/support/faulty_file_ops.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "common/base/check.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::test {
namespace {

namespace fs = std::filesystem;

std::string parent_of(const std::string& path) {
  return fs::path(path).parent_path().string();
}

std::string name_of(const std::string& path) {
  return fs::path(path).filename().string();
}

std::uint64_t inode_of(const std::string& path) {
  struct stat st {};
  BSMTP_CHECK(::lstat(path.c_str(), &st) == 0);
  return st.st_ino;
}

}  // namespace

FaultyFileOps::FaultyFileOps(std::string root)
    : real_(os::real_file_ops()), root_(std::move(root)) {
  remember_tree(root_);
}

void FaultyFileOps::remember_tree(const std::string& dir) {
  keep(dir);
  const Entries entries = entries_of(dir);
  synced_entries_[inode_of(dir)] = entries;
  for (const auto& [name, entry] : entries) {
    const std::string path = dir + "/" + name;
    if (entry.is_directory) {
      remember_tree(path);
    } else {
      keep(path);
      synced_data_[entry.inode] = slurp(path);
    }
  }
}

void FaultyFileOps::keep(const std::string& path) {
  kept_.emplace_back(::open(path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
}

FaultyFileOps::Entries FaultyFileOps::entries_of(const std::string& dir) const {
  Entries entries;
  for (const auto& name : names_in(dir)) {
    const std::string path = dir + "/" + name;
    entries[name] = {inode_of(path), fs::is_directory(path)};
  }
  return entries;
}

void FaultyFileOps::fail_at(std::uint64_t n, int error) {
  fail_at_ = calls_ + n;
  error_ = error;
}

void FaultyFileOps::stop_at(std::uint64_t n) {
  stop_at_ = calls_ + n;
}

std::size_t FaultyFileOps::count(const std::string& call) const {
  return static_cast<std::size_t>(
      std::count_if(trace_.begin(), trace_.end(),
                    [&](const std::string& line) { return line.starts_with(call + " "); }));
}

Status FaultyFileOps::step(const std::string& call, const std::string& path) {
  ++calls_;
  trace_.push_back(call + " " + path);
  if (stop_at_ != 0 && calls_ >= stop_at_) {
    return Status::from_errno("stopped at " + call + " " + path, EIO);
  }
  if (fail_at_ == calls_) {
    return Status::from_errno("made to fail: " + call + " " + path, error_);
  }
  return Status::ok();
}

Result<os::File> FaultyFileOps::open(const std::string& path, int flags, mode_t mode) {
  TRY(step((flags & O_CREAT) != 0 ? "create" : "open", path));
  auto file = real_.open(path, flags, mode);
  if (file.is_ok() && (flags & O_CREAT) != 0) {
    keep(path);
  }
  return file;
}

Result<std::size_t> FaultyFileOps::read(os::File& file, std::span<char> out) {
  TRY(step("read", file.path()));
  return real_.read(file, out);
}

Result<std::size_t> FaultyFileOps::read_at(const os::File& file, std::span<char> out,
                                           std::uint64_t offset) {
  TRY(step("read", file.path()));
  return real_.read_at(file, out, offset);
}

Status FaultyFileOps::write(os::File& file, std::string_view data) {
  TRY(step("write", file.path()));
  return real_.write(file, data);
}

Status FaultyFileOps::fsync(os::File& file) {
  TRY(step("fsync", file.path()));
  synced_data_[real_.stat(file)->inode] = slurp("/proc/self/fd/" + std::to_string(file.fd()));
  return Status::ok();
}

Status FaultyFileOps::close(os::File& file) {
  const Status status = step("close", file.path());
  TRY(real_.close(file));  // a failing close releases the descriptor all the same
  return status;
}

Status FaultyFileOps::fsync_dir(const std::string& path) {
  TRY(step("fsync_dir", path));
  sync_directory(path);
  return Status::ok();
}

void FaultyFileOps::sync_directory(const std::string& path) {
  const std::uint64_t dir = inode_of(path);
  std::erase_if(moves_, [&](const DirectoryMove& move) {
    if (move.from_dir != dir && move.to_dir != dir) {
      return false;
    }
    synced_entries_[move.from_dir].erase(move.from_name);
    synced_entries_[move.to_dir][move.to_name] = {move.inode, true};
    return true;
  });
  synced_entries_[dir] = entries_of(path);
}

void FaultyFileOps::note_move(const std::string& from, const std::string& to) {
  if (fs::is_directory(to)) {
    moves_.push_back({inode_of(parent_of(from)), inode_of(parent_of(to)), name_of(from),
                      name_of(to), inode_of(to)});
  }
}

Status FaultyFileOps::rename(const std::string& from, const std::string& to) {
  TRY(step("rename", from + " " + to));
  TRY(real_.rename(from, to));
  note_move(from, to);
  return Status::ok();
}

Status FaultyFileOps::rename_noreplace(const std::string& from, const std::string& to) {
  TRY(step("rename", from + " " + to));
  TRY(real_.rename_noreplace(from, to));
  note_move(from, to);
  return Status::ok();
}

Status FaultyFileOps::unlink(const std::string& path) {
  TRY(step("unlink", path));
  return real_.unlink(path);
}

Status FaultyFileOps::mkdir(const std::string& path, mode_t mode) {
  TRY(step("mkdir", path));
  TRY(real_.mkdir(path, mode));
  keep(path);
  return Status::ok();
}

Status FaultyFileOps::rmdir(const std::string& path) {
  TRY(step("rmdir", path));
  return real_.rmdir(path);
}

Status FaultyFileOps::chmod(const std::string& path, mode_t mode) {
  TRY(step("chmod", path));
  return real_.chmod(path, mode);
}

Result<std::vector<std::string>> FaultyFileOps::list(const std::string& path) {
  TRY(step("list", path));
  return real_.list(path);
}

Result<os::FileInfo> FaultyFileOps::stat(const std::string& path) {
  TRY(step("stat", path));
  return real_.stat(path);
}

Result<os::FileInfo> FaultyFileOps::stat(const os::File& file) {
  TRY(step("stat", file.path()));
  return real_.stat(file);
}

Result<os::FileSystemInfo> FaultyFileOps::file_system(const std::string& path) {
  TRY(step("statfs", path));
  return real_.file_system(path);
}

Status FaultyFileOps::lock(os::File& file) {
  TRY(step("lock", file.path()));
  return real_.lock(file);
}

Result<bool> FaultyFileOps::try_lock(os::File& file) {
  TRY(step("lock", file.path()));
  return real_.try_lock(file);
}

std::string FaultyFileOps::content_of(std::uint64_t inode) const {
  const auto it = synced_data_.find(inode);
  return it == synced_data_.end() ? std::string() : it->second;
}

void FaultyFileOps::power_cut(const std::string& target, Survival survival) const {
  if (survival == Survival::kOnlySynced) {
    write_durable(target, synced_entries_.at(inode_of(root_)));
  } else {
    write_current(root_, target, survival == Survival::kEverything);
  }
}

void FaultyFileOps::write_durable(const std::string& target, const Entries& entries) const {
  fs::create_directory(target);
  for (const auto& [name, entry] : entries) {
    const std::string path = target + "/" + name;
    if (entry.is_directory) {
      const auto below = synced_entries_.find(entry.inode);
      write_durable(path, below == synced_entries_.end() ? Entries() : below->second);
    } else {
      spit(path, content_of(entry.inode));
    }
  }
}

void FaultyFileOps::write_current(const std::string& source, const std::string& target,
                                  bool all_data) const {
  fs::create_directory(target);
  for (const auto& [name, entry] : entries_of(source)) {
    const std::string from = source + "/" + name;
    const std::string to = target + "/" + name;
    if (entry.is_directory) {
      write_current(from, to, all_data);
    } else {
      spit(to, all_data ? slurp(from) : content_of(entry.inode));
    }
  }
}

}  // namespace bsmtp::test
