// Splitting a parcel that was refused as a whole (too big, or for the content of one message in
// it): its items move into two new parcels, the first and the second half by octets. Refused again
// these are halved in turn, until a single message is left, which fails as such.
// Crash-safety: the old parcel says `splitting` (durable, begin_split) before the first item
// moves, so that it is never submitted again; every item is at any instant in exactly one
// place, and what a new parcel could not be completed with goes back to the old one. A split that
// was interrupted goes on with what is left. The old parcel is removed when it is empty.
// What is known of the old parcel's copies goes on to the parts (ParcelState::earlier_copy).
// Failure: temporary; the old parcel keeps what has not moved. Threads: as build_job.h.
#pragma once

#include <string>

#include "mda/dispatch/build_job.h"

namespace bsmtp::mda {

// Parcel `id` in ready/ or sent/, if it is to be split. Returns how many parcels were built; 0
// also when it is not there or someone works on it.
Result<std::size_t> split_parcel(BuildContext& context, const config::Peer& peer,
                                 const std::string& id);

// Notes durably that the parcel's messages go into two smaller ones, and whether
// `another` copy of it may have arrived: its parts must not forget. False, and nothing noted, when
// it holds a single message.
Result<bool> begin_split(const spool::Spool& spool, spool::ParcelDir& parcel, ParcelState& state,
                         bool another, const Status& why);
// The same with all of them going into one new parcel, because of what befell this one, a copy of
// which may have arrived.
Status begin_again(spool::ParcelDir& parcel, ParcelState& state, const std::string& why);

}  // namespace bsmtp::mda
