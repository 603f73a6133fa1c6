#include "common/ledger/ledger_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/text.h"
#include "common/base/unique_fd.h"

namespace bsmtp::ledger {
namespace {

constexpr mode_t kLedgerMode = 0660;

// Through a descriptor that only names the file: closing it drops no locks, and neither a link nor
// a second name of another file of ours is followed.
void open_to_group(const std::string& file) {
  const UniqueFd fd(::open(file.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      info.st_nlink != 1 || info.st_uid != ::geteuid() || (info.st_mode & 07777U) == kLedgerMode) {
    return;
  }
  // Where it cannot be done, the ledger works as before for its owner.
  static_cast<void>(
      ::chmod(str_cat({"/proc/self/fd/", std::to_string(fd.get())}).c_str(), kLedgerMode));
}

// What another user leaves who looked at a ledger of mode 0640 with SQLite's own tools while nobody
// had it open: an empty log and its index, which say nothing and would keep us from writing. Only
// the ledger's owner may do so: to anybody else the files of a dispatcher that runs look the same.
void remove_leavings(const std::string& file) {
  struct stat info {};
  if (::lstat(file.c_str(), &info) != 0 || info.st_uid != ::geteuid()) {
    return;
  }
  const std::string log = file + "-wal";
  const std::string index = file + "-shm";
  const bool empty = ::lstat(log.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0;
  const bool in_the_way = empty && is_kept_from_us(log);
  if (in_the_way || is_kept_from_us(index)) {
    ::unlink(index.c_str());  // made again from the log
  }
  if (in_the_way) {
    ::unlink(log.c_str());
  }
}

}  // namespace

bool file_exists(const std::string& file) {
  struct stat info {};
  return ::lstat(file.c_str(), &info) == 0;
}

bool is_kept_from_us(const std::string& file) {
  return ::faccessat(AT_FDCWD, file.c_str(), W_OK, AT_EACCESS) != 0 && errno == EACCES;
}

void prepare_files(const std::string& file, bool create) {
  if (create) {
    // Where it fails SQLite fails too, and says why.
    const UniqueFd fd(
        ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kLedgerMode));
  }
  for (const char* end : {"", "-wal", "-shm"}) {
    open_to_group(file + end);
  }
  remove_leavings(file);
}

std::string uri_of(const std::string& file, std::string_view parameters) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const char c : file) {
    if (c == '%' || c == '?' || c == '#') {
      const auto octet = static_cast<unsigned char>(c);
      uri += {'%', kDigits[octet >> 4U], kDigits[octet & 0xfU]};
    } else {
      uri += c;
    }
  }
  return uri.append("?").append(parameters);
}

Status write_mark(const std::string& file) {
  const std::string mark = file + ".created";
  UniqueFd fd(::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kLedgerMode));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return Status::from_errno(mark, errno);
  }
  const std::size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : file.substr(0, slash);
  UniqueFd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid() || ::fsync(dir.get()) != 0) {
    return Status::from_errno(directory, errno);
  }
  return Status::ok();
}

}  // namespace bsmtp::ledger
