#include "common/spool/parcel_dir.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "common/base/check.h"
#include "common/base/id.h"
#include "common/base/text.h"

namespace bsmtp::spool {
namespace {

// 10,000 items (the most that max-messages allows) with room to spare.
constexpr std::size_t kMaxHandingFile = 1U << 20U;

bool is_gone(const Status& status) {
  return status.error_number() == ENOENT || status.error_number() == ENOTDIR;
}

constexpr std::string_view kSplitOf =
    "split-of";  // in the state of a part: the parcel it came from

}  // namespace

ParcelDir::ParcelDir(const Spool& spool, std::string peer, Stage stage, std::string id,
                     os::File dir)
    : spool_(&spool),
      peer_(std::move(peer)),
      stage_(stage),
      id_(std::move(id)),
      dir_(std::move(dir)) {}

Result<ParcelDir> ParcelDir::create(const Spool& spool, const PeerLock& lock,
                                    const std::string& parcel_id) {
  os::FileOps& ops = spool.ops();
  const std::string path = spool.paths().parcel(lock.peer(), Stage::kBuilding, parcel_id);
  TRY(ops.mkdir(path, kDirMode));
  TRY(ops.chmod(path, kDirMode));
  TRY(os::ensure_directory(ops, str_cat({path, "/", kItemsDir}), kDirMode));
  TRY_ASSIGN(os::File dir, ops.open(path, os::kDirectory, 0));
  TRY_ASSIGN(const bool locked, ops.try_lock(dir));
  if (!locked) {
    return Status::temporary("4.3.0", path + ": a new parcel is locked by another process");
  }
  // Before items move in: were the directory lost in a crash, they would be lost with it.
  TRY(ops.fsync_dir(path));
  TRY(ops.fsync_dir(spool.paths().stage(lock.peer(), Stage::kBuilding)));
  return ParcelDir(spool, lock.peer(), Stage::kBuilding, parcel_id, std::move(dir));
}

Result<std::optional<ParcelDir>> ParcelDir::claim(const Spool& spool, const std::string& peer,
                                                  Stage stage, const std::string& parcel_id) {
  os::FileOps& ops = spool.ops();
  const std::optional<ParcelDir> none;
  const std::string path = spool.paths().parcel(peer, stage, parcel_id);
  auto dir = ops.open(path, os::kDirectory, 0);
  if (!dir.is_ok()) {
    return is_gone(dir.status()) ? Result<std::optional<ParcelDir>>(std::optional<ParcelDir>())
                                 : dir.status();
  }
  TRY_ASSIGN(const bool locked, ops.try_lock(*dir));
  if (!locked) {
    return std::optional<ParcelDir>();
  }
  // Between open and lock its former owner may have moved it to another stage.
  TRY_ASSIGN(const os::FileInfo ours, ops.stat(*dir));
  const auto now = ops.stat(path);
  if (!now.is_ok() || now->inode != ours.inode) {
    return std::optional<ParcelDir>();
  }
  return std::optional<ParcelDir>(ParcelDir(spool, peer, stage, parcel_id, std::move(dir).value()));
}

Result<Fields> ParcelDir::peek_state(const Spool& spool, const std::string& peer, Stage stage,
                                     const std::string& parcel_id) {
  const std::string path = str_cat({spool.paths().parcel(peer, stage, parcel_id), "/", kStateFile});
  TRY_ASSIGN(const std::string text, os::read_file(spool.ops(), path, kMaxFieldsFile));
  return Fields::parse(text, path);
}

std::string ParcelDir::path() const {
  return spool_->paths().parcel(peer_, stage_, id_);
}

std::string ParcelDir::item_path(std::string_view item_id) const {
  return str_cat({path(), "/", kItemsDir, "/", item_id});
}

Result<bool> ParcelDir::take_item(std::string_view item_id) {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  const Status moved =
      spool_->ops().rename(spool_->paths().item(peer_, item_id), item_path(item_id));
  if (moved.error_number() == ENOENT) {
    return false;
  }
  TRY(moved);
  return true;
}

std::string ParcelDir::items_dir() const {
  return str_cat({path(), "/", kItemsDir});
}

Result<ParcelDir> ParcelDir::create_part(const Spool& spool, const PeerLock& lock,
                                         const std::string& parcel_id, const ParcelDir& from,
                                         const std::vector<std::string>& items) {
  TRY_ASSIGN(ParcelDir part, create(spool, lock, parcel_id));
  os::FileOps& ops = spool.ops();
  const auto fill = [&]() -> Status {
    Fields state;
    state.set(kSplitOf, from.id());
    TRY(part.write_state(state));
    for (const std::string& item : items) {
      TRY(ops.rename(from.item_path(item), part.item_path(item)));
    }
    TRY(ops.fsync_dir(part.items_dir()));
    return ops.fsync_dir(from.items_dir());
  };
  const Status filled = fill();
  if (!filled.is_ok()) {
    static_cast<void>(part.abandon());  // should this fail too, recovery does it
    return filled;
  }
  return part;
}

std::string ParcelDir::origin() const {
  const auto state = read_state();
  const std::string from = state.is_ok() ? state->get(kSplitOf) : "";
  if (is_id(from)) {
    for (const Stage stage : {Stage::kReady, Stage::kSent}) {
      const std::string dir = str_cat({spool_->paths().parcel(peer_, stage, from), "/", kItemsDir});
      if (spool_->ops().stat(dir).is_ok()) {
        return dir;
      }
    }
  }
  return spool_->paths().incoming(peer_);
}

Status ParcelDir::return_item(std::string_view item_id) {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  return spool_->ops().rename(item_path(item_id), spool_->paths().item(peer_, item_id));
}

Status ParcelDir::set_item_aside(std::string_view item_id) {
  const std::string held = spool_->paths().stage(peer_, Stage::kHeld);
  TRY(spool_->ops().rename(item_path(item_id), str_cat({held, "/", item_id, ".item"})));
  return spool_->ops().fsync_dir(held);
}

Result<std::vector<std::string>> ParcelDir::items() const {
  return list_ids(spool_->ops(), str_cat({path(), "/", kItemsDir}));
}

Result<os::File> ParcelDir::begin_handing() {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  os::FileOps& ops = spool_->ops();
  // As in commit(): an item that left must not come back in incoming/ after a power cut.
  TRY(ops.fsync_dir(str_cat({path(), "/", kItemsDir})));
  TRY(ops.fsync_dir(spool_->paths().incoming(peer_)));
  const std::string file = str_cat({path(), "/", kHandingFile});
  TRY(os::remove_if_exists(ops, file));
  TRY_ASSIGN(os::File notes, ops.open(file, os::kCreateNew | O_APPEND, kFileMode));
  TRY(ops.fsync_dir(path()));
  return notes;
}

Status ParcelDir::note_handing(os::File& notes, std::string_view item_id) {
  TRY(spool_->ops().write(notes, str_cat({item_id, "\n"})));
  return spool_->ops().fsync(notes);
}

Status ParcelDir::item_handed(std::string_view item_id) {
  return spool_->ops().unlink(item_path(item_id));
}

Status ParcelDir::end_handing(os::File notes) {
  os::FileOps& ops = spool_->ops();
  TRY(ops.fsync_dir(str_cat({path(), "/", kItemsDir})));
  TRY(ops.close(notes));
  TRY(ops.unlink(str_cat({path(), "/", kHandingFile})));
  return ops.fsync_dir(path());
}

Result<std::vector<std::string>> ParcelDir::items_in_doubt() const {
  const std::string file = str_cat({path(), "/", kHandingFile});
  const auto text = os::read_file(spool_->ops(), file, kMaxHandingFile);
  if (!text.is_ok()) {
    return is_gone(text.status()) ? Result<std::vector<std::string>>(std::vector<std::string>())
                                  : text.status();
  }
  TRY_ASSIGN(auto there, items());
  auto noted = split(*text, '\n');
  std::sort(noted.begin(), noted.end());
  std::erase_if(there, [&noted](const std::string& id) {
    return !std::binary_search(noted.begin(), noted.end(), std::string_view(id));
  });
  return there;
}

Result<os::File> ParcelDir::create_entity() {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  TRY(os::remove_if_exists(spool_->ops(), entity_path()));
  // Read too: the builder signs what it has written.
  constexpr int kCreateNewForBoth = (os::kCreateNew & ~O_ACCMODE) | O_RDWR;
  return spool_->ops().open(entity_path(), kCreateNewForBoth, kFileMode);
}

Result<os::File> ParcelDir::open_entity() const {
  return spool_->ops().open(entity_path(), os::kReadOnly, 0);
}

Result<Fields> ParcelDir::read_state() const {
  return peek_state(*spool_, peer_, stage_, id_);
}

Status ParcelDir::write_state(const Fields& state) {
  return os::write_file_atomically(spool_->ops(), path(), path(), std::string(kStateFile),
                                   state.format(), kFileMode);
}

Status ParcelDir::commit(os::File entity, const Fields& state) {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  os::FileOps& ops = spool_->ops();
  TRY(ops.fsync(entity));
  TRY(ops.close(entity));
  // The items' new place first, their old one second: in between a crash may leave an item in
  // both, never in neither.
  TRY(ops.fsync_dir(str_cat({path(), "/", kItemsDir})));
  TRY(ops.fsync_dir(spool_->paths().incoming(peer_)));
  TRY(write_state(state));  // its directory fsync also covers `entity`
  return move_to(Stage::kReady);
}

Status ParcelDir::move_to(Stage stage) {
  os::FileOps& ops = spool_->ops();
  const Stage from = stage_;
  TRY(ops.rename_noreplace(path(), spool_->paths().parcel(peer_, stage, id_)));
  stage_ = stage;
  TRY(ops.fsync_dir(spool_->paths().stage(peer_, stage)));
  return ops.fsync_dir(spool_->paths().stage(peer_, from));
}

Status ParcelDir::abandon() {
  BSMTP_CHECK(stage_ == Stage::kBuilding);
  os::FileOps& ops = spool_->ops();
  const auto list = items();
  if (list.is_ok()) {
    const std::string back = origin();
    for (const auto& item : *list) {
      TRY(ops.rename(item_path(item), str_cat({back, "/", item})));
    }
    TRY(ops.fsync_dir(back));
    TRY(ops.fsync_dir(items_dir()));
  } else if (!is_gone(list.status())) {  // died between the two mkdirs
    return list.status();
  }
  return remove();
}

Status ParcelDir::remove() {
  os::FileOps& ops = spool_->ops();
  const std::string gone = str_cat({spool_->paths().tmp(peer_), "/", id_, ".gone"});
  TRY(os::remove_tree(ops, gone));
  TRY(ops.rename(path(), gone));
  return os::remove_tree(ops, gone);
}

Result<std::size_t> recover_building(const Spool& spool, const std::string& peer,
                                     const std::function<void(const std::string& item)>& in_doubt) {
  TRY_ASSIGN(const PeerLock lock, spool.lock_peer(peer));
  TRY_ASSIGN(const auto ids, spool.list_parcels(peer, Stage::kBuilding));
  std::size_t undone = 0;
  for (const auto& id : ids) {
    TRY_ASSIGN(auto parcel, ParcelDir::claim(spool, peer, Stage::kBuilding, id));
    if (parcel) {
      TRY_ASSIGN(const auto doubtful, parcel->items_in_doubt());
      for (const std::string& item : doubtful) {
        if (in_doubt) {
          in_doubt(item);
        }
      }
      TRY(parcel->abandon());
      ++undone;
    }
  }
  return undone;
}

}  // namespace bsmtp::spool
