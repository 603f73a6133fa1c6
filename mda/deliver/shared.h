// What the threads of one Deliverer share. Threads: what changes is atomic, the rest is
// safe by itself or never changed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"
#include "mda/deliver/parcel_queue.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

// Outlives the threads.
struct DeliveryShared {
  std::shared_ptr<const config::Config> config;
  const spool::Spool& spool;
  ledger::Journal& journal;
  NoticeStore& notices;
  const Clock& clock;
  ParcelQueue& queue;
  const spool::Quarantine& quarantine;
  std::function<void()> changed;  // a parcel was deferred or the MTA paused: ask next_due() again
  std::atomic<std::uint64_t> pauses{0};   // in a row
  std::atomic<bool> trouble{false};       // a parcel could not be worked on, or not put away
  std::atomic<unsigned> connections{0};   // to the host MTA, open or being opened
  std::atomic<bool> receipt_owed{false};  // was noted in the ledger since somebody looked
};

}  // namespace bsmtp::mda
