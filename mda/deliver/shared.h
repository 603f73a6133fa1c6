// What the threads of one Deliverer share. Threads: what changes is atomic, the rest is
// safe by itself or never changed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string_view>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/log/events.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"
#include "mda/deliver/parcel_queue.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

// An alarm about trouble that every worker meets every second is said once a minute.
class AlarmPace {
 public:
  void alarm(std::string_view id, std::string_view what) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    auto next = next_.load();
    if (now >= next && next_.compare_exchange_strong(
                           next, now + std::chrono::steady_clock::duration(kPause).count())) {
      log::alarm(id, what);
    }
  }

 private:
  static constexpr std::chrono::minutes kPause{1};
  std::atomic<std::chrono::steady_clock::rep> next_{std::numeric_limits<std::int64_t>::min()};
};

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
  AlarmPace alarm_pace{};
};

}  // namespace bsmtp::mda
