// See accepted_dir.h.
#include "mda/deliver/accepted_dir.h"

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/os/fd_stream.h"
#include "common/spool/fields.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kMaxMeta = 256U << 20U;  // 10^6 messages with refusals
constexpr std::string_view kDeferralName = "state";

Result<std::vector<std::string>> list_names(const spool::Spool& spool, const std::string& dir) {
  std::vector<std::string> names;
  TRY_ASSIGN(names, spool.ops().list(dir));
  std::erase_if(
      names, [](const std::string& name) { return !spool::parse_accepted_directory_name(name); });
  std::sort(names.begin(), names.end());
  return names;
}

Result<DeferralState> read_deferral(os::FileOps& ops, const std::string& dir) {
  const std::string file = str_cat({dir, "/", kDeferralName});
  std::string text;
  TRY_ASSIGN(text, os::read_file(ops, file, spool::kMaxFieldsFile));
  spool::Fields fields;
  TRY_ASSIGN(fields, spool::Fields::parse(text, file));
  DeferralState state;
  state.attempts = fields.get_number("attempts");
  state.next = fields.get_time("next").value_or(TimePoint());
  return state;
}

// Messages in batch order into one file, so that quarantine shows what came.
Status write_batch(const spool::Spool& spool, const AcceptedDir& dir, const std::string& path,
                   spool::QuarantineEntry& entry) {
  os::FileOps& ops = spool.ops();
  os::File file;
  TRY_ASSIGN(file, ops.open(path, os::kCreateNew, spool::kFileMode));
  os::FileSink sink(ops, file);
  digest::Sha256Sink hashing(&sink);
  for (const std::uint64_t index : dir.messages()) {
    os::File message;
    TRY_ASSIGN(message, ops.open(dir.message_path(index), os::kReadOnly, 0));
    os::FileSource source(ops, message);
    TRY(copy(source, hashing).status());
  }
  TRY(sink.finish());
  TRY(ops.fsync(file));
  entry.sha256 = hashing.hex();
  return ops.close(file);
}

}  // namespace

Result<std::vector<std::string>> AcceptedDir::list_accepted(const spool::Spool& spool) {
  return list_names(spool, spool.paths().accepted());
}

Result<std::vector<std::string>> AcceptedDir::list_deferred(const spool::Spool& spool) {
  return list_names(spool, spool.paths().deferred());
}

DeferralState AcceptedDir::peek_deferral(const spool::Spool& spool, const std::string& name) {
  auto state = read_deferral(spool.ops(), str_cat({spool.paths().deferred(), "/", name}));
  return state.is_ok() ? state.value() : DeferralState();
}

Result<std::optional<AcceptedDir>> AcceptedDir::claim(const spool::Spool& spool,
                                                      const std::string& name) {
  os::FileOps& ops = spool.ops();
  for (const bool deferred : {false, true}) {
    AcceptedDir dir(spool, name, deferred, os::File());
    auto opened = ops.open(dir.path(), os::kDirectory, 0);
    if (!opened.is_ok() && opened.status().error_number() == ENOENT) {
      continue;
    }
    TRY_ASSIGN(dir.lock_, std::move(opened));
    bool ours = false;
    TRY_ASSIGN(ours, ops.try_lock(dir.lock_));
    if (!ours) {
      return std::optional<AcceptedDir>();
    }
    // Between open and lock its last owner may have removed or moved it.
    os::FileInfo by_name;
    auto info = ops.stat(dir.path());
    if (!info.is_ok() && info.status().error_number() == ENOENT) {
      continue;
    }
    TRY_ASSIGN(by_name, std::move(info));
    os::FileInfo by_fd;
    TRY_ASSIGN(by_fd, ops.stat(dir.lock_));
    if (by_name.inode != by_fd.inode) {
      return std::optional<AcceptedDir>();
    }
    TRY(dir.load());
    return std::optional<AcceptedDir>(std::move(dir));
  }
  return std::optional<AcceptedDir>();
}

std::string AcceptedDir::path() const {
  return str_cat({deferred_ ? spool_->paths().deferred() : spool_->paths().accepted(), "/", name_});
}

std::string AcceptedDir::message_path(std::uint64_t index) const {
  return str_cat({path(), "/", spool::accepted_message_name(index)});
}

Status AcceptedDir::load() {
  const std::string file = str_cat({path(), "/", spool::kAcceptedMetaName});
  std::string text;
  TRY_ASSIGN(text, os::read_file(spool_->ops(), file, kMaxMeta));
  TRY_ASSIGN(meta_, spool::parse_accepted_meta(text, file));
  if (spool::accepted_directory_name(meta_.peer, meta_.parcel_id) != name_) {
    return Status::temporary(
        "4.3.0", str_cat({file,
                          ": names another peer or parcel than its directory; the parcel "
                          "stays undelivered: look at it and rename the directory"}));
  }
  const auto state = read_deferral(spool_->ops(), path());
  if (state.is_ok()) {
    deferral_ = state.value();
  }
  return load_messages();
}

Status AcceptedDir::load_messages() {
  std::vector<std::string> names;
  TRY_ASSIGN(names, spool_->ops().list(path()));
  for (const std::string& name : names) {
    const auto index = parse_u64(name);
    if (index && *index >= 1 && *index <= meta_.messages.size() &&
        name == spool::accepted_message_name(*index)) {
      messages_.push_back(*index);
    }
  }
  std::sort(messages_.begin(), messages_.end());
  // `state` is written before finished messages are removed, so without it all must be there.
  const bool may_lack = std::find(names.begin(), names.end(), kDeferralName) != names.end();
  if (!may_lack && messages_.size() != meta_.messages.size()) {
    return Status::temporary(
        "4.3.0", str_cat({path(), ": has ", std::to_string(messages_.size()),
                          " messages, meta "
                          "says ",
                          std::to_string(meta_.messages.size()),
                          "; the parcel stays undelivered: restore the missing files"}));
  }
  return Status::ok();
}

Status AcceptedDir::defer(const DeferralState& state, const std::vector<std::uint64_t>& finished) {
  spool::Fields fields;
  fields.set_number("attempts", state.attempts);
  fields.set_time("next", state.next);
  os::FileOps& ops = spool_->ops();
  TRY(os::write_file_atomically(ops, path(), spool_->paths().inbound_tmp(),
                                std::string(kDeferralName), fields.format()));
  for (const std::uint64_t index : finished) {
    // Its outcome is in the ledger: if the removal is lost, the message is skipped by that.
    TRY(os::remove_if_exists(ops, message_path(index)));
    std::erase(messages_, index);
  }
  deferral_ = state;
  if (!deferred_) {
    TRY(ops.rename(path(), str_cat({spool_->paths().deferred(), "/", name_})));
    deferred_ = true;
    TRY(ops.fsync_dir(spool_->paths().deferred()));
    TRY(ops.fsync_dir(spool_->paths().accepted()));
  }
  return Status::ok();
}

Status AcceptedDir::remove() {
  std::string random;
  TRY_ASSIGN(random, random_hex(8));
  os::FileOps& ops = spool_->ops();
  const std::string away = str_cat({spool_->paths().inbound_tmp(), "/", name_, ".", random});
  TRY(ops.rename(path(), away));
  // Not synced: should the entry come back, the ledger knows the parcel as finished.
  return os::remove_tree(ops, away);
}

Result<std::string> AcceptedDir::quarantine(const spool::Quarantine& quarantine,
                                            const std::string& code, const std::string& reason,
                                            TimePoint now) {
  std::string random;
  TRY_ASSIGN(random, random_hex(8));
  const std::string raw = str_cat({spool_->paths().inbound_tmp(), "/", name_, ".", random, ".raw"});
  spool::QuarantineEntry entry;
  entry.code = code;
  entry.reason = reason;
  entry.peer = meta_.peer;
  entry.queue_id = meta_.queue_id;
  Status status = write_batch(*spool_, *this, raw, entry);
  if (!status.is_ok()) {
    (void)os::remove_if_exists(spool_->ops(), raw);
    return status;
  }
  std::string id;
  TRY_ASSIGN(id, quarantine.put(raw, entry, now));
  TRY(remove());
  return id;
}

}  // namespace bsmtp::mda
