// AcceptedDir: one parcel in inbound/accepted/ or inbound/deferred/ with the exclusive flock on
// its directory while this object lives. In deferred/ a file `state` tells attempts and the next
// one, and messages that are finished are gone; in accepted/ all messages must be there.
// Guarantee: every change is one rename or one replaced file; what a crash leaves is found again
// under one of the two names. May not: interpret messages. Errors: temporary, naming the path.
// Threads: one object, one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/spool/accepted.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

struct DeferralState {
  std::uint64_t attempts = 0;
  TimePoint next{};  // not to be tried before
};

class AcceptedDir {
 public:
  // Names of parcels waiting, oldest first within a peer. Foreign names are left out.
  static Result<std::vector<std::string>> list_accepted(const spool::Spool& spool);
  static Result<std::vector<std::string>> list_deferred(const spool::Spool& spool);
  // Without locking. An unreadable state means: due now.
  static DeferralState peek_deferral(const spool::Spool& spool, const std::string& name);
  // nullopt: gone, or another process works on it.
  static Result<std::optional<AcceptedDir>> claim(const spool::Spool& spool,
                                                  const std::string& name);

  const std::string& name() const { return name_; }
  const spool::AcceptedMeta& meta() const { return meta_; }
  const DeferralState& deferral() const { return deferral_; }
  // Ordinals (from 1) of messages with work left, ascending.
  const std::vector<std::uint64_t>& messages() const { return messages_; }
  std::string message_path(std::uint64_t index) const;

  // accepted -> deferred (or the next round there). `finished` messages are removed.
  Status defer(const DeferralState& state, const std::vector<std::uint64_t>& finished);
  // Everything is done: one rename into inbound/tmp/, then deletion, which the sweep completes.
  Status remove();
  // Two different parcels under one id: kept for a human, out of delivery.
  Result<std::string> quarantine(const spool::Quarantine& quarantine, const std::string& code,
                                 const std::string& reason, TimePoint now);

 private:
  AcceptedDir(const spool::Spool& spool, std::string name, bool deferred, os::File lock)
      : spool_(&spool), name_(std::move(name)), deferred_(deferred), lock_(std::move(lock)) {}
  Status load();
  Status load_messages();
  std::string path() const;

  const spool::Spool* spool_;
  std::string name_;
  bool deferred_;
  os::File lock_;
  spool::AcceptedMeta meta_;
  DeferralState deferral_;
  std::vector<std::uint64_t> messages_;
};

}  // namespace bsmtp::mda
