// AcceptedDir: one parcel in inbound/accepted/ or inbound/deferred/ with the exclusive flock on
// its directory while this object lives. In deferred/ a file `state` tells attempts, the next one
// and which messages have work left.
// Guarantee: every change is one rename or one replaced file; what a crash leaves is found again
// under one of the two names. May not: interpret messages. Errors: temporary, naming the path.
// Threads: one object, one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/spool/accepted_parcel.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

class AcceptedDir {
 public:
  // Names of parcels waiting, oldest first within a peer. Foreign names are left out.
  static Result<std::vector<std::string>> list_accepted(const spool::Spool& spool);
  static Result<std::vector<std::string>> list_deferred(const spool::Spool& spool);
  // Without locking. An unreadable state means: due now.
  static spool::Deferral peek_deferral(const spool::Spool& spool, const std::string& name);
  // nullopt: gone, or another process works on it.
  static Result<std::optional<AcceptedDir>> claim(const spool::Spool& spool,
                                                  const std::string& name);

  const std::string& name() const { return name_; }
  const spool::AcceptedMeta& meta() const { return parcel_->meta(); }
  const spool::Deferral& deferral() const { return parcel_->deferral(); }
  // Ordinals (from 1) of messages with work left, ascending.
  const std::vector<std::uint64_t>& messages() const { return parcel_->open_messages(); }
  // Of several threads at once, too. Permanent 5.6.0 for one that is no item, temporary 4.3.0 for
  // one that is not all there, or whose envelope is not the one that was accepted.
  Result<spool::ItemReader> open_message(std::uint64_t index) const;
  // The envelope alone, checked in the same way, also of a message whose text has no end.
  Result<mail::Envelope> read_envelope(std::uint64_t index) const;
  // Reads all messages, finished ones too: is any of them not as it was accepted?
  bool has_damage() const;

  std::unique_ptr<Source> all_messages() const { return parcel_->all_messages(); }

  // accepted -> deferred (or the next round there); of `finished` messages nothing is left to do.
  Status defer(const spool::Deferral& state, const std::vector<std::uint64_t>& finished);
  // Everything is done: one rename into inbound/tmp/, then deletion, which the sweep completes.
  Status remove();
  // Everything is done, but what lies here is damaged: it goes to held/ of its peer, for a human.
  // Returns its path there.
  Result<std::string> set_aside();
  // The same for one that cannot be claimed because it is damaged. nullopt: gone, or locked.
  static Result<std::optional<std::string>> set_broken_aside(const spool::Spool& spool,
                                                             const std::string& name);
  // When bsmtp-in wrote it, as far as its files tell that without being read.
  static Result<TimePoint> written_at(const spool::Spool& spool, const std::string& name);
  // Two different parcels under one id: kept for a human, out of delivery.
  Result<std::string> quarantine(const spool::Quarantine& quarantine, const std::string& code,
                                 const std::string& reason, TimePoint now);

 private:
  AcceptedDir(const spool::Spool& spool, std::string name, bool deferred, os::File lock)
      : spool_(&spool), name_(std::move(name)), deferred_(deferred), lock_(std::move(lock)) {}
  // Of the directory, wherever it is; without reading any of its files.
  static Result<std::optional<AcceptedDir>> lock(const spool::Spool& spool,
                                                 const std::string& name);
  Status load();
  std::string path() const;

  const spool::Spool* spool_;
  std::string name_;
  bool deferred_;
  os::File lock_;
  std::optional<spool::AcceptedParcel> parcel_;  // always, once claimed
};

// Whether a failure to read a parcel or message says that what lies there is damaged, as opposed to
// trouble of this process (memory, descriptors, permissions) or another release's work.
bool is_damage(const Status& why);

}  // namespace bsmtp::mda
