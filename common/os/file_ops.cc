#include "common/os/file_ops.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "common/base/check.h"
#include "common/base/id.h"
#include "common/base/text.h"

namespace bsmtp::os {
namespace {

// From linux/magic.h and the kernel's file systems: those whose rename or fsync depends on
// another machine.
constexpr std::array<std::int64_t, 7> kRemoteTypes{
    0x6969,      // NFS
    0x517B,      // SMB
    0xFF534D42,  // CIFS
    0xFE534D42,  // SMB2
    0x5346414F,  // AFS
    0x01021997,  // 9P
    0x00C36400,  // Ceph
};

template <typename Call>
auto retry(Call call) {
  auto r = call();
  while (r < 0 && errno == EINTR) {
    r = call();
  }
  return r;
}

Status failed(std::string_view what, const std::string& path) {
  const int error = errno;
  return Status::from_errno(str_cat({what, " ", path}), error);
}

FileInfo to_info(const struct stat& st) {
  FileInfo info;
  info.size = static_cast<std::uint64_t>(st.st_size);
  info.inode = st.st_ino;
  info.modified = TimePoint(std::chrono::duration_cast<TimePoint::duration>(
      std::chrono::seconds(st.st_mtim.tv_sec) + std::chrono::nanoseconds(st.st_mtim.tv_nsec)));
  info.is_directory = S_ISDIR(st.st_mode);
  info.owner = st.st_uid;
  info.group = st.st_gid;
  info.mode = st.st_mode & 07777U;
  return info;
}

unsigned percent(std::uint64_t free, std::uint64_t total) {
  return total == 0 ? 100U
                    : static_cast<unsigned>(static_cast<double>(free) * 100.0 /
                                            static_cast<double>(total));
}

// A FIFO would let its reader wait for ever, a device might give it anything.
Status require_ordinary(const UniqueFd& fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) {
    return failed("stat", path);
  }
  errno = S_ISDIR(st.st_mode) ? EISDIR : ENXIO;
  return S_ISREG(st.st_mode) ? Status::ok() : failed("no ordinary file:", path);
}

class RealFileOps final : public FileOps {
 public:
  Result<File> open(const std::string& path, int flags, mode_t mode) override {
    const bool to_read = (flags & (O_ACCMODE | O_DIRECTORY | O_NOFOLLOW)) == kReadOnly;
    const int more = O_CLOEXEC | (to_read ? O_NONBLOCK : 0);
    UniqueFd fd(retry([&] { return ::open(path.c_str(), flags | more, mode); }));
    if (!fd.valid()) {
      return failed("open", path);
    }
    if (to_read) {
      TRY(require_ordinary(fd, path));
    }
    return File(std::move(fd), path);
  }

  Result<std::size_t> read(File& file, std::span<char> out) override {
    const auto n = retry([&] { return ::read(file.fd(), out.data(), out.size()); });
    if (n < 0) {
      return failed("read", file.path());
    }
    return static_cast<std::size_t>(n);
  }

  Result<std::size_t> read_at(const File& file, std::span<char> out,
                              std::uint64_t offset) override {
    const auto n = retry(
        [&] { return ::pread(file.fd(), out.data(), out.size(), static_cast<off_t>(offset)); });
    if (n < 0) {
      return failed("read", file.path());
    }
    return static_cast<std::size_t>(n);
  }

  Status write(File& file, std::string_view data) override {
    while (!data.empty()) {
      const auto n = retry([&] { return ::write(file.fd(), data.data(), data.size()); });
      if (n < 0) {
        return failed("write", file.path());
      }
      data.remove_prefix(static_cast<std::size_t>(n));
    }
    return Status::ok();
  }

  void start_writeback(File& file, std::uint64_t offset, std::uint64_t size) override {
    ::sync_file_range(file.fd(), static_cast<off64_t>(offset), static_cast<off64_t>(size),
                      SYNC_FILE_RANGE_WRITE);
  }

  Status fsync(File& file) override {
    return retry([&] { return ::fsync(file.fd()); }) == 0 ? Status::ok()
                                                          : failed("fsync", file.path());
  }

  Status close(File& file) override {
    const std::string path = file.path();
    file.unlock();
    return file.release().close_checked(str_cat({"close ", path}));
  }

  Status fsync_dir(const std::string& path) override {
    TRY_ASSIGN(File dir, open(path, kDirectory, 0));
    return fsync(dir);
  }

  Status rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? Status::ok()
                                                   : failed(str_cat({"rename ", from, " to"}), to);
  }

  Status rename_noreplace(const std::string& from, const std::string& to) override {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0
               ? Status::ok()
               : failed(str_cat({"rename ", from, " to"}), to);
  }

  Status unlink(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? Status::ok() : failed("remove", path);
  }

  Status mkdir(const std::string& path, mode_t mode) override {
    return ::mkdir(path.c_str(), mode) == 0 ? Status::ok() : failed("make directory", path);
  }

  Status rmdir(const std::string& path) override {
    return ::rmdir(path.c_str()) == 0 ? Status::ok() : failed("remove directory", path);
  }

  Status chmod(const std::string& path, mode_t mode) override {
    return ::chmod(path.c_str(), mode) == 0 ? Status::ok() : failed("set mode of", path);
  }

  Result<std::vector<std::string>> list(const std::string& path) override {
    // Not opendir(): it follows a link, and what is listed is often removed.
    TRY_ASSIGN(File opened, open(path, kDirectory, 0));
    UniqueFd fd = opened.release();
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
    if (!dir) {
      return failed("list", path);
    }
    (void)fd.release();  // closedir() closes it
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) {
        if (errno != 0) {
          return failed("list", path);
        }
        return names;
      }
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
    }
  }

  Result<FileInfo> stat(const std::string& path) override {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) {
      return failed("stat", path);
    }
    return to_info(st);
  }

  Result<FileInfo> stat(const File& file) override {
    struct stat st {};
    if (::fstat(file.fd(), &st) != 0) {
      return failed("stat", file.path());
    }
    return to_info(st);
  }

  Result<FileSystemInfo> file_system(const std::string& path) override {
    struct statfs st {};
    if (retry([&] { return ::statfs(path.c_str(), &st); }) != 0) {
      return failed("statfs", path);
    }
    FileSystemInfo info;
    info.type = st.f_type;
    info.free_percent =
        std::min(percent(st.f_bavail, st.f_blocks), percent(st.f_ffree, st.f_files));
    info.free_bytes = std::uint64_t{st.f_bavail} * static_cast<std::uint64_t>(st.f_bsize);
    return info;
  }

  Status lock(File& file) override {
    if (retry([&] { return ::flock(file.fd(), LOCK_EX); }) != 0) {
      return failed("lock", file.path());
    }
    file.note_lock();
    return Status::ok();
  }

  Result<bool> try_lock(File& file) override {
    if (retry([&] { return ::flock(file.fd(), LOCK_EX | LOCK_NB); }) == 0) {
      file.note_lock();
      return true;
    }
    if (errno == EWOULDBLOCK) {
      return false;
    }
    return failed("lock", file.path());
  }
};

}  // namespace

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    unlock();
    fd_ = std::move(other.fd_);
    path_ = std::move(other.path_);
    locked_ = std::exchange(other.locked_, false);
  }
  return *this;
}

void File::unlock() {
  if (std::exchange(locked_, false) && fd_.valid()) {
    (void)::flock(fd_.get(), LOCK_UN);
  }
}

bool FileSystemInfo::is_remote() const {
  return std::find(kRemoteTypes.begin(), kRemoteTypes.end(), type & 0xFFFFFFFF) !=
         kRemoteTypes.end();
}

FileOps& real_file_ops() {
  static RealFileOps ops;
  return ops;
}

bool is_no_ordinary_file(const Status& status) {
  const int error = status.error_number();
  return error == ELOOP || error == ENXIO || error == EISDIR;
}

Result<bool> exists(FileOps& ops, const std::string& path) {
  const auto info = ops.stat(path);
  if (info.is_ok()) {
    return true;
  }
  const int error = info.status().error_number();
  if (error == ENOENT || error == ENOTDIR) {
    return false;
  }
  return info.status();
}

Status remove_if_exists(FileOps& ops, const std::string& path) {
  const Status status = ops.unlink(path);
  return status.error_number() == ENOENT ? Status::ok() : status;
}

Status remove_tree(FileOps& ops, const std::string& path) {
  const auto info = ops.stat(path);
  if (!info.is_ok()) {
    return info.status().error_number() == ENOENT ? Status::ok() : info.status();
  }
  if (!info->is_directory) {
    return remove_if_exists(ops, path);
  }
  TRY_ASSIGN(const auto names, ops.list(path));
  for (const auto& name : names) {
    TRY(remove_tree(ops, str_cat({path, "/", name})));
  }
  const Status status = ops.rmdir(path);
  return status.error_number() == ENOENT ? Status::ok() : status;
}

Status ensure_directory(FileOps& ops, const std::string& path, mode_t mode) {
  const Status made = ops.mkdir(path, mode);
  if (made.error_number() == EEXIST) {
    TRY_ASSIGN(const FileInfo info, ops.stat(path));
    if (!info.is_directory) {
      return Status::temporary("4.3.5", str_cat({path, ": is in the way and no directory"}));
    }
    return Status::ok();
  }
  TRY(made);
  const Status status = ops.chmod(path, mode);  // mkdir's mode passed the umask and lost setgid
  if (!status.is_ok()) {
    (void)ops.rmdir(path);  // or the next one would take it as it is
  }
  return status;
}

Result<std::string> read_file(FileOps& ops, const std::string& path, std::size_t limit) {
  TRY_ASSIGN(File file, ops.open(path, kReadOnly, 0));
  std::string out;
  std::array<char, 4096> block;  // NOLINT: filled by read before use
  for (;;) {
    TRY_ASSIGN(const std::size_t n, ops.read(file, block));
    if (n == 0) {
      return out;
    }
    if (out.size() + n > limit) {
      return Status::temporary("4.3.0",
                               str_cat({path, ": larger than ", std::to_string(limit), " octets"}));
    }
    out.append(block.data(), n);
  }
}

Status write_file_atomically(FileOps& ops, const std::string& dir, const std::string& tmpdir,
                             const std::string& name, std::string_view contents, mode_t mode) {
  TRY_ASSIGN(const std::string token, random_hex(8));
  const std::string tmp = str_cat({tmpdir, "/", name, ".", token});
  const auto write_tmp = [&]() -> Status {
    TRY_ASSIGN(File file, ops.open(tmp, kCreateNew, mode));
    TRY(ops.write(file, contents));
    TRY(ops.fsync(file));
    TRY(ops.close(file));
    return ops.rename(tmp, str_cat({dir, "/", name}));
  };
  Status status = write_tmp();
  if (!status.is_ok()) {
    static_cast<void>(remove_if_exists(ops, tmp));
    return status;
  }
  return ops.fsync_dir(dir);
}

}  // namespace bsmtp::os
