// Finding an outbound parcel that somebody else speaks of: by the token of its return address (a
// bounce) or by its id (a receipt, an admin). What is found is locked until it goes out of scope.
// Failure: temporary; also when the parcel is there and someone else works on it.
// Threads: functions without state.
#pragma once

#include <optional>
#include <string>

#include "common/spool/parcel_dir.h"
#include "mda/dispatch/parcel_state.h"

namespace bsmtp::mda {

struct FoundParcel {
  spool::ParcelDir dir;
  ParcelState state;
};

// In ready, sent or failed of any peer. nullopt: none has this token. The file of every parcel is
// read: bounces are rare.
Result<std::optional<FoundParcel>> find_by_token(const spool::Spool& spool,
                                                 const std::string& token);
// In ready, sent or failed of that peer.
Result<std::optional<FoundParcel>> find_by_id(const spool::Spool& spool, const std::string& peer,
                                              const std::string& parcel_id);

}  // namespace bsmtp::mda
