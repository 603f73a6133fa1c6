// Spool: an opened spool directory of the format version we know, on a local file system.
// The other headers of this folder work on it: item.h (one message), parcel_dir.h (one outbound
// parcel), heartbeat.h (is the dispatcher alive). docs/spool.md has the states and recovery.
// Threads: const after open; may be shared.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/os/file_ops.h"
#include "common/spool/paths.h"

namespace bsmtp::spool {

inline constexpr mode_t kDirMode = 02770;  // setgid: whatever user creates, the group is kept
inline constexpr mode_t kFileMode = 0660;  // further narrowed by the agents' umask 007

// A lock on one peer's incoming/ and building/: held while a batch is claimed or recovered, never
// while a parcel is built or sent. Released when destroyed.
class PeerLock {
 public:
  PeerLock(os::File file, std::string peer) : file_(std::move(file)), peer_(std::move(peer)) {}
  const std::string& peer() const { return peer_; }

 private:
  os::File file_;
  std::string peer_;
};

class Spool {
 public:
  // Makes whatever is missing below `root` (made too, its parent not) for these peers and syncs
  // it. Safe to repeat and to run by several processes; never removes. An existing spool of
  // another version is refused.
  static Status create_layout(os::FileOps& ops, const std::string& root,
                              const std::vector<std::string>& peers);
  // Refuses, temporary 4.3.5: no VERSION file (not a spool, or file system not mounted), another
  // version, a network file system. `ops` must outlive the Spool.
  static Result<Spool> open(os::FileOps& ops, const std::string& root);

  os::FileOps& ops() const { return *ops_; }
  const Paths& paths() const { return paths_; }
  const std::string& root() const { return paths_.root(); }

  // Temporary 4.3.5 naming the first directory of the tree that is none, or a link to one: what
  // is moved or removed there would be moved or removed elsewhere. `peers`: those of outbound mail.
  Status check_directories(const std::vector<std::string>& peers) const;
  // The same of those that a message for this peer passes on its way to `incoming`.
  Status check_way_in(const std::string& peer) const;

  // Free blocks or inodes as seen by open(): temporary 4.3.1 when below `percent`.
  Status require_free(unsigned percent) const;
  // Room for a message of so many octets, as seen by open(): temporary 4.3.1.
  Status require_room(std::uint64_t octets) const;
  // The same, asked anew (long-running programs).
  Status require_free_now(unsigned percent) const;

  // Peers that have a directory, sorted.
  Result<std::vector<std::string>> peers() const;
  // Ids in peers/<peer>/incoming, oldest first (names that are no ids are left out).
  Result<std::vector<std::string>> list_incoming(std::string_view peer) const;
  // Parcel ids of one stage, oldest first.
  Result<std::vector<std::string>> list_parcels(std::string_view peer, Stage stage) const;

  // Waits for the lock.
  Result<PeerLock> lock_peer(const std::string& peer) const;

  // Removes files and directories from peers/<peer>/tmp that are older than `age`: what a
  // killed agent or an interrupted removal left. Returns how many.
  Result<std::size_t> sweep_tmp(const std::string& peer, TimePoint now,
                                std::chrono::seconds age) const;

 private:
  Spool(os::FileOps& ops, Paths paths, const os::FileSystemInfo& info)
      : ops_(&ops),
        paths_(std::move(paths)),
        free_percent_(info.free_percent),
        free_bytes_(info.free_bytes) {}

  os::FileOps* ops_;
  Paths paths_;
  unsigned free_percent_;
  std::uint64_t free_bytes_;
};

// Ids among directory entries, sorted; other names are left out.
Result<std::vector<std::string>> list_ids(os::FileOps& ops, const std::string& dir);

}  // namespace bsmtp::spool
