#include "common/spool/spool.h"

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"

namespace bsmtp::spool {
namespace {

Status not_usable(const std::string& root, std::string_view why) {
  return Status::temporary("4.3.5", str_cat({root, ": ", why}));
}

Status check_version(os::FileOps& ops, const Paths& paths) {
  auto text = os::read_file(ops, paths.version(), 256);
  if (!text.is_ok()) {
    if (text.status().error_number() == ENOENT) {
      return not_usable(paths.root(),
                        "is no spool (no file VERSION); is its file system mounted? "
                        "bsmtp-dispatch makes a new one");
    }
    return text.status();
  }
  if (*text != kVersionLine) {
    return not_usable(
        paths.root(),
        str_cat({"spool version is '", printable(trim(*text), 40), "', this release knows '",
                 trim(kVersionLine), "'; finish the old queue with the release that wrote it"}));
  }
  return Status::ok();
}

Status check_file_system(const os::FileSystemInfo& info, const std::string& root) {
  return info.is_remote()
             ? not_usable(root,
                          "lies on a network file system, where a committed message may get "
                          "lost; move the spool to a local disk")
             : Status::ok();
}

Status require_percent(const std::string& root, unsigned free, unsigned percent) {
  if (free >= percent) {
    return Status::ok();
  }
  return Status::temporary(
      "4.3.1", str_cat({root, ": only ", std::to_string(free), " % of blocks or inodes are free, ",
                        std::to_string(percent), " % are kept; make room"}));
}

// Parents first.
std::vector<std::string> fixed_directories(const Paths& paths) {
  return {paths.peers(),         paths.inbound(),    paths.inbound_tmp(), paths.accepted(),
          paths.deferred(),      paths.quarantine(), paths.returns(),     paths.inbound_receipts(),
          paths.inbound_asked(), paths.notices(),    paths.notices_tmp(), paths.notices_ready()};
}

std::vector<std::string> peer_directories(const Paths& paths, const std::string& peer) {
  std::vector<std::string> all = {paths.peer(peer), paths.tmp(peer), paths.incoming(peer)};
  for (const Stage stage : kStages) {
    all.push_back(paths.stage(peer, stage));
  }
  return all;
}

// One that is missing is not there to be used.
Status require_directories(os::FileOps& ops, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    const auto info = ops.stat(directory);
    if (info.status().error_number() == ENOENT) {
      continue;
    }
    TRY(info.status());
    if (!info->is_directory) {
      return not_usable(directory,
                        "is no directory of the spool but a link or file; find out who put it "
                        "there, and make the directory anew");
    }
  }
  return Status::ok();
}

Status make_all(os::FileOps& ops, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    TRY(os::ensure_directory(ops, directory, kDirMode));
  }
  return Status::ok();
}

}  // namespace

Status Spool::create_layout(os::FileOps& ops, const std::string& root,
                            const std::vector<std::string>& peers) {
  const Paths paths(root);
  TRY(os::ensure_directory(ops, root, kDirMode));
  TRY_ASSIGN(const os::FileSystemInfo info, ops.file_system(root));
  TRY(check_file_system(info, root));
  TRY_ASSIGN(const bool versioned, os::exists(ops, paths.version()));
  if (versioned) {
    TRY(check_version(ops, paths));
  }
  TRY(make_all(ops, fixed_directories(paths)));
  for (const auto& peer : peers) {
    TRY(make_all(ops, peer_directories(paths, peer)));
    TRY(ops.fsync_dir(paths.peer(peer)));
  }
  for (const auto& dir : {paths.peers(), paths.inbound(), paths.notices(), root}) {
    TRY(ops.fsync_dir(dir));
  }
  // Last: whoever sees VERSION sees a whole layout.
  return versioned ? Status::ok()
                   : os::write_file_atomically(ops, root, root, "VERSION", kVersionLine, 0644);
}

Result<Spool> Spool::open(os::FileOps& ops, const std::string& root) {
  Paths paths(root);
  TRY(check_version(ops, paths));
  TRY_ASSIGN(const os::FileSystemInfo info, ops.file_system(root));
  TRY(check_file_system(info, root));
  return Spool(ops, std::move(paths), info);
}

Status Spool::check_directories(const std::vector<std::string>& peers) const {
  TRY(require_directories(*ops_, fixed_directories(paths_)));
  for (const std::string& peer : peers) {
    TRY(require_directories(*ops_, peer_directories(paths_, peer)));
  }
  return Status::ok();
}

Status Spool::check_way_in(const std::string& peer) const {
  return require_directories(
      *ops_, {paths_.peers(), paths_.peer(peer), paths_.tmp(peer), paths_.incoming(peer)});
}

Status Spool::require_free(unsigned percent) const {
  return require_percent(root(), free_percent_, percent);
}

Status Spool::require_room(std::uint64_t octets) const {
  if (free_bytes_ >= octets) {
    return Status::ok();
  }
  return Status::temporary("4.3.1", str_cat({root(), ": ", std::to_string(free_bytes_),
                                             " octets are free, the message has ",
                                             std::to_string(octets), "; make room"}));
}

Status Spool::require_free_now(unsigned percent) const {
  TRY_ASSIGN(const os::FileSystemInfo info, ops_->file_system(root()));
  return require_percent(root(), info.free_percent, percent);
}

Result<std::vector<std::string>> Spool::peers() const {
  TRY_ASSIGN(auto names, ops_->list(paths_.peers()));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> Spool::list_incoming(std::string_view peer) const {
  return list_ids(*ops_, paths_.incoming(peer));
}

Result<std::vector<std::string>> Spool::list_parcels(std::string_view peer, Stage stage) const {
  return list_ids(*ops_, paths_.stage(peer, stage));
}

Result<PeerLock> Spool::lock_peer(const std::string& peer) const {
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW;
  TRY_ASSIGN(os::File file, ops_->open(paths_.lock(peer), kFlags, kFileMode));
  TRY(ops_->lock(file));
  return PeerLock(std::move(file), peer);
}

Result<std::size_t> Spool::sweep_tmp(const std::string& peer, TimePoint now,
                                     std::chrono::seconds age) const {
  std::size_t removed = 0;
  const std::string dir = paths_.tmp(peer);
  TRY_ASSIGN(const auto names, ops_->list(dir));
  for (const auto& name : names) {
    const std::string path = str_cat({dir, "/", name});
    const auto info = ops_->stat(path);
    if (info.is_ok() && info->modified + age < now) {
      TRY(os::remove_tree(*ops_, path));
      ++removed;
    }
  }
  return removed;
}

Result<std::vector<std::string>> list_ids(os::FileOps& ops, const std::string& dir) {
  TRY_ASSIGN(auto names, ops.list(dir));
  std::erase_if(names, [](const std::string& name) { return !is_id(name); });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace bsmtp::spool
