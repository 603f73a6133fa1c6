// Finding an outbound parcel that somebody else speaks of: by the token of its return address (a
// bounce) or by its id (a receipt, an admin). What is found is locked until it goes out of scope.
// Failure: temporary; also when the parcel is there and someone else works on it.
// Threads: functions without state; an index of its own for each thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/spool/parcel_dir.h"
#include "mda/dispatch/parcel_state.h"

namespace bsmtp::mda {

struct FoundParcel {
  spool::ParcelDir dir;
  ParcelState state;
};

// The tokens of all parcels in ready, sent and failed. A parcel's token never changes, so its file
// is read once, by the first bounce that comes while the parcel is there: whoever sends made-up
// ones costs a listing of three directories each, not the reading of every parcel's state. Memory:
// some 200 octets for each parcel, from the first bounce on. Threads: one at a time.
class TokenIndex {
 public:
  // In any peer's directories. nullopt: none has this token. `token` is not empty.
  Result<std::optional<FoundParcel>> find(const spool::Spool& spool, const std::string& token);

 private:
  using Tokens = std::unordered_map<std::string, std::string>;  // by parcel id
  std::string look_up(const spool::Spool& spool, const std::string& peer, spool::Stage stage,
                      const std::string& id);
  std::map<std::string, Tokens> known_;  // by peer
};
// In ready, sent or failed of that peer.
Result<std::optional<FoundParcel>> find_by_id(const spool::Spool& spool, const std::string& peer,
                                              const std::string& parcel_id);

}  // namespace bsmtp::mda
