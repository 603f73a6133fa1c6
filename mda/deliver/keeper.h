// ParcelKeeper: opens accepted parcels ahead of the workers and concludes those whose messages are
// all settled, in a thread of its own, so that no connection to the host MTA waits for a parcel's
// files. A parcel is noted in the ledger before a message of it is handed out, and noted as
// finished before its files go away. What is damaged is set aside once it is over. Failure: what
// cannot be opened or put away is logged, stays where it is and is looked at again. Threads: run()
// in one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mda/deliver/parcel_queue.h"
#include "mda/deliver/shared.h"

namespace bsmtp::mda {

class ParcelKeeper {
 public:
  explicit ParcelKeeper(DeliveryShared& shared) : shared_(shared) {}
  // Until the queue is closed and everything settled is concluded.
  void run();

 private:
  void load(const std::string& name);
  Result<bool> open_parcel(AcceptedDir dir);
  // One that is damaged as a whole: past its time, the postmaster is told and it is set aside.
  Status give_up(const std::string& name, const Status& why);
  // A parcel that the ledger knows as finished leaves; `lost`: messages of it were given up as
  // damaged since it was opened.
  Status put_away(AcceptedDir& dir, std::uint64_t lost);
  void log_ambiguous(const AcceptedDir& dir, const std::vector<std::uint64_t>& messages);
  void conclude(OpenParcel& parcel);

  DeliveryShared& shared_;
};

}  // namespace bsmtp::mda
