// See dsn_limit.h.
#include "mda/notice/dsn_limit.h"

#include <fcntl.h>

#include <cerrno>
#include <chrono>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "common/spool/fields.h"

namespace bsmtp::mda {
namespace {

constexpr const char* kHourFile = "dsn-hour";
constexpr const char* kWithheldFile = "withheld";
constexpr const char* kTellingFile = "withheld.telling";

}  // namespace

std::string DsnLimit::path(const std::string& peer, const char* name) const {
  return str_cat({spool_.paths().peer(peer), "/", name});
}

DsnLimit::Hour DsnLimit::read(const std::string& peer) const {
  const std::string file = path(peer, kHourFile);
  const auto text = os::read_file(spool_.ops(), file, spool::kMaxFieldsFile);
  Hour hour;
  if (text.is_ok()) {
    const auto fields = spool::Fields::parse(*text, file);
    if (fields.is_ok()) {
      hour.hour = static_cast<std::int64_t>(fields->get_number("hour"));
      hour.count = fields->get_number("count");
    }
  }
  return hour;
}

void DsnLimit::write(const std::string& peer, const Hour& hour) const {
  spool::Fields fields;
  fields.set_number("hour", static_cast<std::uint64_t>(hour.hour));
  fields.set_number("count", hour.count);
  os::FileOps& ops = spool_.ops();
  const std::string tmp = path(peer, "dsn-hour.new");
  auto file = ops.open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, spool::kFileMode);
  if (file.is_ok() && ops.write(*file, fields.format()).is_ok() && ops.close(*file).is_ok()) {
    (void)ops.rename(tmp, path(peer, kHourFile));
  }
}

bool DsnLimit::take(const std::string& peer, std::uint64_t limit, TimePoint now) {
  const std::lock_guard lock(mutex_);
  auto known = hours_.find(peer);
  if (known == hours_.end()) {
    known = hours_.emplace(peer, read(peer)).first;
  }
  const std::int64_t now_hour =
      std::chrono::duration_cast<std::chrono::hours>(now.time_since_epoch()).count();
  Hour& hour = known->second;
  if (hour.hour != now_hour) {
    hour = {now_hour, 0};
  }
  if (hour.count >= limit) {
    return false;
  }
  ++hour.count;
  write(peer, hour);
  return true;
}

Status DsnLimit::withhold(const std::string& peer, const std::string& line) {
  const std::lock_guard lock(mutex_);
  os::FileOps& ops = spool_.ops();
  const std::string file = path(peer, kWithheldFile);
  const auto info = ops.stat(file);
  if (info.is_ok() && info->size > kMaxWithheld) {
    return Status::ok();
  }
  TRY_ASSIGN(os::File out,
             ops.open(file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, spool::kFileMode));
  TRY(ops.write(out, str_cat({printable(line, 1000), "\n"})));
  // Where this line is lost in a power cut, so is the state that demanded it: it is written anew.
  TRY(ops.fsync(out));
  return ops.close(out);
}

Result<std::optional<std::string>> DsnLimit::to_tell(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  os::FileOps& ops = spool_.ops();
  const std::string telling = path(peer, kTellingFile);
  TRY_ASSIGN(const bool left, os::exists(ops, telling));
  if (!left) {
    const Status moved = ops.rename(path(peer, kWithheldFile), telling);
    if (moved.error_number() == ENOENT) {
      return std::optional<std::string>();
    }
    TRY(moved);
  }
  TRY_ASSIGN(std::string text, os::read_file(ops, telling, 2 * kMaxWithheld));
  if (text.empty()) {  // its writer died before the first line
    TRY(ops.unlink(telling));
    return std::optional<std::string>();
  }
  return std::optional<std::string>(std::move(text));
}

Status DsnLimit::told(const std::string& peer) {
  return os::remove_if_exists(spool_.ops(), path(peer, kTellingFile));
}

}  // namespace bsmtp::mda
