// FileOps: the one seam for every system call on spool files and directories, so that tests can
// fail the n-th call or cut the power after it (tests/support/faulty_file_ops.h).
// Guarantees: paths are used as given (callers build them in common/spool/paths.h from our own
// ids); files are close-on-exec; EINTR is retried; every failure is a temporary Status whose
// error_number() is the errno and whose text names the path. May not: know what mail is.
// Threads: the real object has no state and may be shared; a File belongs to one thread.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::os {

// An open file and the name it was opened by, for messages. Closed when destroyed.
class File {
 public:
  File() = default;
  File(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  File(File&&) noexcept = default;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { unlock(); }
  bool is_open() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  UniqueFd release() { return std::move(fd_); }
  // Ends a lock of FileOps::lock(), as closing does: but while another thread forks, the child has
  // this open file too, and closing alone would leave it locked until the child has let go.
  void unlock();
  void note_lock() { locked_ = true; }

 private:
  UniqueFd fd_;
  std::string path_;
  bool locked_ = false;
};

struct FileInfo {
  std::uint64_t size = 0;
  std::uint64_t inode = 0;
  TimePoint modified;
  bool is_directory = false;
  uid_t owner = 0;
  gid_t group = 0;
  mode_t mode = 0;  // permission bits with setuid, setgid, sticky
};

struct FileSystemInfo {
  std::int64_t type = 0;        // statfs(2) magic
  unsigned free_percent = 100;  // the smaller of blocks and inodes that ordinary users may use
  std::uint64_t free_bytes = UINT64_MAX;  // likewise
  bool is_remote() const;  // NFS, SMB and the like: rename and fsync promise less there
};

class FileOps {
 public:
  virtual ~FileOps() = default;

  // open(2) with O_CLOEXEC added. Use kCreateNew for a file that must not exist yet.
  // kReadOnly opens ordinary files only: a FIFO or device fails with ENXIO, at once, a directory
  // with EISDIR.
  virtual Result<File> open(const std::string& path, int flags, mode_t mode) = 0;
  // At most out.size() octets, 0 only at the end.
  virtual Result<std::size_t> read(File& file, std::span<char> out) = 0;
  virtual Result<std::size_t> read_at(const File& file, std::span<char> out,
                                      std::uint64_t offset) = 0;
  // All of `data` or a failure.
  virtual Status write(File& file, std::string_view data) = 0;
  // After a failed fsync the file's content is unknown for ever: abandon it, never try again
  // (the kernel reports a lost page once only).
  // Asks the kernel to begin writing these octets to the disk, so that a later fsync has less to
  // wait for. Only a hint: nothing is promised, no error is known. May be left out.
  virtual void start_writeback(File& /*file*/, std::uint64_t /*offset*/, std::uint64_t /*size*/) {}
  virtual Status fsync(File& file) = 0;
  virtual Status close(File& file) = 0;
  // Opens, fsyncs and closes a directory: makes its entries durable.
  virtual Status fsync_dir(const std::string& path) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Fails with EEXIST (error_number()) when `to` exists.
  virtual Status rename_noreplace(const std::string& from, const std::string& to) = 0;
  virtual Status unlink(const std::string& path) = 0;
  virtual Status mkdir(const std::string& path, mode_t mode) = 0;
  virtual Status rmdir(const std::string& path) = 0;
  virtual Status chmod(const std::string& path, mode_t mode) = 0;
  // Names in the directory, without "." and "..", in no order. A link to one fails with ENOTDIR.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<FileInfo> stat(const std::string& path) = 0;  // lstat: links are not followed
  virtual Result<FileInfo> stat(const File& file) = 0;
  virtual Result<FileSystemInfo> file_system(const std::string& path) = 0;
  // flock(2), exclusive; the lock lasts until the file is closed (also by death of the process).
  virtual Status lock(File& file) = 0;
  virtual Result<bool> try_lock(File& file) = 0;  // false: someone else holds it

 protected:
  FileOps() = default;
  FileOps(const FileOps&) = default;
  FileOps& operator=(const FileOps&) = default;
};

// Flags for FileOps::open.
inline constexpr int kCreateNew = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
inline constexpr int kReadOnly = O_RDONLY | O_NOFOLLOW;
inline constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

// The kernel's; valid for the life of the process.
FileOps& real_file_ops();

// Whether open() failed because something else lies where a file should: a link, FIFO, directory.
bool is_no_ordinary_file(const Status& status);
// False only for ENOENT / ENOTDIR; other troubles are the Status.
Result<bool> exists(FileOps& ops, const std::string& path);
// unlink; a file that is not there is fine.
Status remove_if_exists(FileOps& ops, const std::string& path);
// A directory with all below it; nothing there is fine. Not durable, resumes after a crash.
Status remove_tree(FileOps& ops, const std::string& path);
// mkdir (with exact `mode`, whatever the umask); an existing directory is fine. Not durable.
Status ensure_directory(FileOps& ops, const std::string& path, mode_t mode);
// A whole small file; more than `limit` octets is a temporary 4.3.0.
Result<std::string> read_file(FileOps& ops, const std::string& path, std::size_t limit);
// Replaces DIR/NAME as a whole: write TMPDIR/<name>.<random>, fsync, rename, fsync DIR. After ok
// the new content survives a power loss; on failure the old content stands and the temporary
// file is gone. TMPDIR is on the same file system (DIR itself will do).
Status write_file_atomically(FileOps& ops, const std::string& dir, const std::string& tmpdir,
                             const std::string& name, std::string_view contents,
                             mode_t mode = 0640);

}  // namespace bsmtp::os
