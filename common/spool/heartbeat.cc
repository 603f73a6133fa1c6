#include "common/spool/heartbeat.h"

#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/spool/fields.h"

namespace bsmtp::spool {
namespace {

constexpr std::string_view kLate = "late.";
constexpr std::string_view kFull = "full.";
constexpr std::string_view kBelieved = "clock-believed";

std::string accepted_path(const Spool& spool) {
  return spool.root() + "/clock-accepted";
}

Status stalled(std::string_view what) {
  return Status::temporary(
      "4.3.2", str_cat({what,
                        "; the message stays in the MTA's queue until `bsmtpctl status` is "
                        "well again"}));
}

}  // namespace

Status write_heartbeat(const Spool& spool, const Heartbeat& beat) {
  Fields fields;
  fields.set_time("time", beat.time);
  for (const auto& [peer, since] : beat.late) {
    fields.set_time(str_cat({kLate, peer}), since);
  }
  for (const auto& [peer, since] : beat.full) {
    fields.set_time(str_cat({kFull, peer}), since);
  }
  if (beat.believed) {
    fields.set_time(kBelieved, *beat.believed);
  }
  TRY_ASSIGN(const std::string token, random_hex(8));
  os::FileOps& ops = spool.ops();
  const std::string path = spool.paths().heartbeat();
  const std::string tmp = str_cat({path, ".", token});
  const auto replace = [&]() -> Status {
    TRY_ASSIGN(os::File file, ops.open(tmp, os::kCreateNew, kFileMode));
    TRY(ops.write(file, fields.format()));
    TRY(ops.close(file));
    return ops.rename(tmp, path);
  };
  Status status = replace();
  if (!status.is_ok()) {
    static_cast<void>(os::remove_if_exists(ops, tmp));
  }
  return status;
}

Result<std::optional<Heartbeat>> read_heartbeat(const Spool& spool) {
  const std::string path = spool.paths().heartbeat();
  const auto text = os::read_file(spool.ops(), path, kMaxFieldsFile);
  if (!text.is_ok()) {
    if (text.status().error_number() == ENOENT) {
      return std::optional<Heartbeat>();
    }
    return text.status();
  }
  TRY_ASSIGN(const Fields fields, Fields::parse(*text, path));
  Heartbeat beat;
  beat.time = fields.get_time("time").value_or(TimePoint());
  beat.believed = fields.get_time(kBelieved);
  for (const auto& [key, value] : fields.all()) {
    const auto since = fields.get_time(key);
    if (key.starts_with(kLate) && since) {
      beat.late[key.substr(kLate.size())] = *since;
    }
    if (key.starts_with(kFull) && since) {
      beat.full[key.substr(kFull.size())] = *since;
    }
  }
  return std::optional<Heartbeat>(std::move(beat));
}

Status accept_clock(const Spool& spool) {
  auto file = spool.ops().open(accepted_path(spool), os::kCreateNew, kFileMode);
  if (!file.is_ok()) {
    return file.status().error_number() == EEXIST ? Status::ok() : file.status();
  }
  return spool.ops().close(*file);
}

bool take_clock_accepted(const Spool& spool) {
  return spool.ops().unlink(accepted_path(spool)).is_ok();
}

Status require_alive(const Spool& spool, const std::string& peer, TimePoint now,
                     std::chrono::seconds limit) {
  TRY_ASSIGN(const auto beat, read_heartbeat(spool));
  if (!beat) {
    TRY_ASSIGN(const os::FileInfo made, spool.ops().stat(spool.paths().version()));
    return made.modified + limit < now
               ? stalled("no bsmtp-dispatch has ever run on this spool: start it")
               : Status::ok();
  }
  if (beat->time + limit < now) {
    return stalled(
        str_cat({"bsmtp-dispatch shows no sign of life since ", format_rfc5322(beat->time)}));
  }
  const auto late = beat->late.find(peer);
  if (late != beat->late.end() && late->second + limit < now) {
    return stalled(
        str_cat({"mail for peer ", peer, " is late since ", format_rfc5322(late->second)}));
  }
  const auto full = beat->full.find(peer);
  if (full != beat->full.end()) {
    return Status::temporary(
        "4.2.2", str_cat({"as much mail waits for peer ", peer, " as max-queued or ",
                          "max-queued-bytes allow, since ", format_rfc5322(full->second),
                          "; the message stays in the MTA's queue"}));
  }
  return Status::ok();
}

}  // namespace bsmtp::spool
