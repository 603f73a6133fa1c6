// Sweep: the hourly tidying: abandoned parcels in building/, stale temporary files, parcels kept
// long enough after they were sent or failed, quarantine caps and its digest for the postmaster,
// ledger rows past their time. Everything here may be interrupted and repeated. Failure: the first
// trouble, after the rest was tried. Threads: one at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/ledger/journal.h"
#include "common/spool/quarantine.h"
#include "mda/dispatch/submit_job.h"

namespace bsmtp::mda {

struct SweepReport {
  std::size_t parcels = 0;        // removed from sent/ and failed/
  std::size_t files = 0;          // stale temporary ones
  std::uint64_t rows = 0;         // forgotten by the ledger
  std::uint64_t quarantined = 0;  // left the quarantine
};

// `journal` may be null.
Status sweep(SubmitContext& context, ledger::Journal* journal, const spool::Quarantine& quarantine,
             const std::vector<std::string>& peers, SweepReport& report);

}  // namespace bsmtp::mda
