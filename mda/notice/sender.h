// NoticeSender: hands waiting notices to the host MTA (`submit`), one connection. A notice leaves
// notices/ready only after the final 250 (or a 5xx: a notice about a notice must not exist, so
// that is an alarm in the log). Trouble with the MTA postpones all of them with back-off.
// May not: run in two threads at once. Its state is memory only: after a restart the back-off
// begins anew.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "mda/notice/host_mta.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

class NoticeSender {
 public:
  NoticeSender(std::shared_ptr<const config::Config> config, NoticeStore& store,
               const Clock& clock);

  // Sends all that wait, unless the back-off says later. Returns when to come again: nullopt
  // when nothing waits.
  Result<std::optional<TimePoint>> run();
  // Makes run() return soon, from any thread.
  void interrupt();

 private:
  enum class Fate { kGone, kLater, kBroken };
  Fate send_one(const std::string& id);
  TimePoint back_off();

  std::shared_ptr<const config::Config> config_;
  NoticeStore& store_;
  const Clock& clock_;
  HostMta mta_;
  std::atomic<bool> stop_{false};
  std::chrono::seconds delay_{0};
  TimePoint not_before_{};
};

}  // namespace bsmtp::mda
