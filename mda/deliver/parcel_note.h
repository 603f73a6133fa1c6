// How an accepted parcel is noted in the ledger, with the receipt it wants in the same transaction:
// one rule for the keeper, who opens parcels for delivery, and for the receipt desk, who must not
// wait until their turn comes. Threads: pure functions but for the ledger given.
#pragma once

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/ledger/ledger.h"
#include "common/spool/accepted.h"

namespace bsmtp::mda {

ledger::ParcelRecord parcel_record(const config::Config& config, const spool::AcceptedMeta& meta);

// When a receipt that is wanted now (or in time) becomes due.
TimePoint receipt_due_at(const config::Config& config, bool at_once, TimePoint now);

// Inside a transaction. Whoever notes a new parcel owes its receipt; a parcel that was finished, or
// buried, and comes again (`came_again`) owes one too. `owed`: a receipt was noted.
struct ParcelNote {
  ledger::ParcelKnown known = ledger::ParcelKnown::kNew;
  bool owed = false;
};
Result<ParcelNote> note_accepted(ledger::Ledger& ledger, const config::Config& config,
                                 const spool::AcceptedMeta& meta, TimePoint now, bool came_again);

}  // namespace bsmtp::mda
