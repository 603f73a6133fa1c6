// See accepted_dir.h.
#include "mda/deliver/accepted_dir.h"

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/mail/transaction.h"
#include "common/os/fd_stream.h"

namespace bsmtp::mda {
namespace {

Result<std::vector<std::string>> list_names(const spool::Spool& spool, const std::string& dir) {
  std::vector<std::string> names;
  TRY_ASSIGN(names, spool.ops().list(dir));
  std::erase_if(
      names, [](const std::string& name) { return !spool::parse_accepted_directory_name(name); });
  std::sort(names.begin(), names.end());
  return names;
}

// The messages in batch order, so that quarantine shows what came.
Status write_batch(const spool::Spool& spool, const AcceptedDir& dir, const std::string& path,
                   spool::QuarantineEntry& entry) {
  os::FileOps& ops = spool.ops();
  os::File file;
  TRY_ASSIGN(file, ops.open(path, os::kCreateNew, spool::kFileMode));
  os::FileSink sink(ops, file);
  digest::Sha256Sink hashing(&sink);
  TRY(copy(*dir.all_messages(), hashing).status());
  TRY(sink.finish());
  TRY(ops.fsync(file));
  entry.sha256 = hashing.hex();
  return ops.close(file);
}

Status check_digest(Source& octets, const std::string& wanted, const std::string& file,
                    std::uint64_t index) {
  digest::Sha256Sink digest(nullptr);
  TRY(copy(octets, digest).status());
  return digest.hex() == wanted
             ? Status::ok()
             : Status::temporary(
                   "4.3.0", str_cat({file, ", message ", std::to_string(index),
                                     ": its envelope is not as it was accepted (SHA-256 is not ",
                                     printable(wanted, 64), " any more); look at the disk"}));
}

}  // namespace

bool is_damage(const Status& why) {
  switch (why.error_number()) {
    case 0:
      return why.code() != "4.3.5";
    case EIO:
    case ENOENT:
    case ELOOP:
    case ENXIO:
    case EISDIR:
    case ENOTDIR:
    case EBADMSG:
    case EUCLEAN:
      return true;
    default:
      return false;
  }
}

Result<std::vector<std::string>> AcceptedDir::list_accepted(const spool::Spool& spool) {
  return list_names(spool, spool.paths().accepted());
}

Result<std::vector<std::string>> AcceptedDir::list_deferred(const spool::Spool& spool) {
  return list_names(spool, spool.paths().deferred());
}

spool::Deferral AcceptedDir::peek_deferral(const spool::Spool& spool, const std::string& name) {
  auto state = spool::read_deferral(spool.ops(), str_cat({spool.paths().deferred(), "/", name}));
  return state.is_ok() ? state.value() : spool::Deferral();
}

Result<std::optional<AcceptedDir>> AcceptedDir::claim(const spool::Spool& spool,
                                                      const std::string& name) {
  std::optional<AcceptedDir> dir;
  TRY_ASSIGN(dir, lock(spool, name));
  if (dir) {
    TRY(dir->load());
  }
  return dir;
}

Result<std::optional<AcceptedDir>> AcceptedDir::lock(const spool::Spool& spool,
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
    return std::optional<AcceptedDir>(std::move(dir));
  }
  return std::optional<AcceptedDir>();
}

std::string AcceptedDir::path() const {
  return str_cat({deferred_ ? spool_->paths().deferred() : spool_->paths().accepted(), "/", name_});
}

Status AcceptedDir::load() {
  TRY_ASSIGN(parcel_, spool::AcceptedParcel::load(spool_->ops(), path()));
  if (spool::accepted_directory_name(meta().peer, meta().parcel_id) != name_) {
    return Status::temporary(
        "4.3.0", str_cat({path(), "/", spool::kAcceptedMetaName,
                          ": names another peer or parcel than its directory; the parcel "
                          "stays undelivered: look at it and rename the directory"}));
  }
  return Status::ok();
}

Result<spool::ItemReader> AcceptedDir::open_message(std::uint64_t index) const {
  TRY_ASSIGN(auto item, parcel_->open_message(index));
  const std::string& wanted = meta().messages.at(index - 1).head_digest;
  if (!wanted.empty()) {
    TRY(check_digest(*item.head(), wanted, item.path(), index));
  }
  return item;
}

Result<mail::Envelope> AcceptedDir::read_envelope(std::uint64_t index) const {
  const spool::AcceptedMessage& message = meta().messages.at(index - 1);
  const auto item = parcel_->octets(index, message.item_bytes);
  TRY_ASSIGN(auto head, mail::read_transaction_head(*item));
  if (!message.head_digest.empty()) {
    TRY(check_digest(*parcel_->octets(index, head.text_offset), message.head_digest, path(),
                     index));
  }
  return std::move(head.envelope);
}

bool AcceptedDir::has_damage() const {
  for (std::uint64_t index = 1; index <= meta().messages.size(); ++index) {
    const auto item = open_message(index);
    digest::Sha256Sink digest(nullptr);
    if (!item.is_ok() || !copy(*item->plain_text(), digest).is_ok() ||
        digest.hex() != meta().messages[index - 1].text_digest) {
      return true;
    }
  }
  return false;
}

Status AcceptedDir::defer(const spool::Deferral& state,
                          const std::vector<std::uint64_t>& finished) {
  std::vector<std::uint64_t> open = messages();
  const std::unordered_set<std::uint64_t> done(finished.begin(), finished.end());
  std::erase_if(open, [&](std::uint64_t index) { return done.count(index) != 0; });
  os::FileOps& ops = spool_->ops();
  TRY(os::write_file_atomically(ops, path(), spool_->paths().inbound_tmp(),
                                std::string(spool::kDeferralName),
                                spool::format_deferral(state, open), spool::kFileMode));
  parcel_->set_deferral(state, std::move(open));
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

Result<std::string> AcceptedDir::set_aside() {
  os::FileOps& ops = spool_->ops();
  const auto named = *spool::parse_accepted_directory_name(name_);
  const std::string held = spool_->paths().stage(named.peer, spool::Stage::kHeld);
  TRY(os::ensure_directory(ops, held, spool::kDirMode));
  const std::string from = path();
  std::string to = str_cat({held, "/", named.parcel_id, ".parcel"});
  Status moved = ops.rename_noreplace(from, to);
  if (moved.error_number() == EEXIST) {
    TRY_ASSIGN(const std::string random, random_hex(8));
    to += str_cat({".", random});
    moved = ops.rename_noreplace(from, to);
  }
  TRY(moved);
  TRY(ops.fsync_dir(held));
  TRY(ops.fsync_dir(deferred_ ? spool_->paths().deferred() : spool_->paths().accepted()));
  return to;
}

Result<std::optional<std::string>> AcceptedDir::set_broken_aside(const spool::Spool& spool,
                                                                 const std::string& name) {
  std::optional<AcceptedDir> dir;
  TRY_ASSIGN(dir, lock(spool, name));
  if (!dir) {
    return std::optional<std::string>();
  }
  TRY_ASSIGN(std::string to, dir->set_aside());
  return std::optional<std::string>(std::move(to));
}

Result<TimePoint> AcceptedDir::written_at(const spool::Spool& spool, const std::string& name) {
  Status status;
  for (const std::string& stage : {spool.paths().accepted(), spool.paths().deferred()}) {
    for (const std::string_view file :
         {spool::kAcceptedMetaName, spool::kAcceptedMessagesName, std::string_view(".")}) {
      const auto info = spool.ops().stat(str_cat({stage, "/", name, "/", file}));
      if (info.is_ok()) {
        return info->modified;
      }
      status = info.status();
    }
  }
  return status;
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
  entry.peer = meta().peer;
  entry.queue_id = meta().queue_id;
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
