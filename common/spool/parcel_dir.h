// ParcelDir: one outbound parcel, a directory peers/<p>/<stage>/<id>/ with items/, entity and
// state, and the exclusive flock on that directory while this object lives.
// Guarantees: an item is at every instant (and after a crash) in incoming/ or in exactly one
// parcel; a parcel in ready/ or later is complete and its entity never changes; every stage
// change is one rename. May not: look into items or entity.
// Recovery (recover_building): the items of a building/ parcel nobody holds go back to incoming/,
// or to the parcel that was being split.
// Threads: one object, one thread; several processes may work on one spool.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/os/fd_stream.h"
#include "common/spool/fields.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {

class ParcelDir {
 public:
  // Makes building/<id>/items; the peer's lock keeps recovery away until our flock is held.
  static Result<ParcelDir> create(const Spool& spool, const PeerLock& lock,
                                  const std::string& parcel_id);
  // Opens and locks an existing parcel. nullopt: another process works on it, or it is no
  // longer in that stage.
  static Result<std::optional<ParcelDir>> claim(const Spool& spool, const std::string& peer,
                                                Stage stage, const std::string& parcel_id);
  // Reads `state` without locking (displays): what was committed last.
  static Result<Fields> peek_state(const Spool& spool, const std::string& peer, Stage stage,
                                   const std::string& parcel_id);

  const std::string& peer() const { return peer_; }
  const std::string& id() const { return id_; }
  Stage stage() const { return stage_; }
  std::string path() const;
  std::string entity_path() const { return path() + "/entity"; }
  std::string item_path(std::string_view item_id) const;

  // Moves an item from incoming/ into this parcel (building only). False: it is gone, someone
  // else has it. Durable after commit().
  Result<bool> take_item(std::string_view item_id);
  // A new parcel whose items come from `from` instead of incoming/: creates it, notes in its state
  // (durably) whose part it is, moves the items over and syncs both directories, the new place
  // first. Until commit() recovery puts them back into `from`. The caller holds `from` locked and
  // has noted there that it is never submitted again.
  static Result<ParcelDir> create_part(const Spool& spool, const PeerLock& lock,
                                       const std::string& parcel_id, const ParcelDir& from,
                                       const std::vector<std::string>& items);
  // Puts one item back into incoming/ (a parcel that came out too large). Durable after commit().
  Status return_item(std::string_view item_id);
  // Moves one broken item to held/<its id>.item of the peer so that the rest can go on; a human
  // looks at it there (`bsmtpctl queue`). Durable when ok.
  Status set_item_aside(std::string_view item_id);
  Result<std::vector<std::string>> items() const;  // oldest first

  // Items that leave one by one and not in a parcel (building only). begin_handing() makes their
  // place durable; note_handing() is durable before the item's first octet goes anywhere;
  // item_handed() takes it out. An item that was noted and is still there may have arrived:
  // recover_building() says so. end_handing() makes all that durable and forgets the notes.
  Result<os::File> begin_handing();
  Status note_handing(os::File& notes, std::string_view item_id);
  Status item_handed(std::string_view item_id);
  Status end_handing(os::File notes);
  Result<std::vector<std::string>> items_in_doubt() const;

  // A new, empty entity file (an older attempt is removed): write it through the sink, finish
  // the sink, then commit().
  Result<os::File> create_entity();
  Result<os::File> open_entity() const;

  // state: replaced as a whole, durable when ok.
  Result<Fields> read_state() const;
  Status write_state(const Fields& state);

  // building -> ready: fsyncs entity, items/, incoming/, the directory, then one rename and
  // fsync of ready/ and building/. `entity` is closed. Only after ok may anything be sent.
  Status commit(os::File entity, const Fields& state);
  // Any other stage change: state first (durable), then one rename, both parents fsynced.
  // The object follows.
  Status move_to(Stage stage);
  // Gives all items back to incoming/ (those of a part: to the parcel they came from) and removes
  // the directory: one durable step per item, safe to repeat. The object is finished afterwards.
  Status abandon();
  // Removes the parcel with its items: one rename into tmp/, then deletion (which the sweep
  // finishes after a crash).
  Status remove();

 private:
  ParcelDir(const Spool& spool, std::string peer, Stage stage, std::string id, os::File dir);
  std::string items_dir() const;
  // Where the items of this building/ parcel came from.
  std::string origin() const;

  const Spool* spool_;
  std::string peer_;
  Stage stage_;
  std::string id_;
  os::File dir_;  // carries the flock
};

// At start and now and then: building/ parcels whose lock is free are abandoned (items go back).
// Takes the peer's lock. Returns how many parcels were undone. `in_doubt` is called, before
// anything changes, for each item whose handing over was interrupted (note_handing()).
Result<std::size_t> recover_building(
    const Spool& spool, const std::string& peer,
    const std::function<void(const std::string& item)>& in_doubt = {});

}  // namespace bsmtp::spool
