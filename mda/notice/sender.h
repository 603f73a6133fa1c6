// NoticeSender: hands waiting notices to the host MTA (`submit`), one connection. A notice leaves
// notices/ready only after the final 250 (or a 5xx: a notice about a notice must not exist, so
// that is an alarm in the log; only where the MTA lacks SMTPUTF8 there may be another way,
// by_tunnel.h). A notice that the MTA refuses for now, or on which it drops the
// connection, waits alone; only an MTA that cannot be reached, or a ledger that cannot be written,
// postpones all of them. The ledger notes each before it leaves: one that may have gone out twice
// is logged outcome=ambiguous.
// May not: run in two threads at once. Its state is memory only: after a restart the back-off
// begins anew.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

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
  // Makes run() return after the notice at hand, from any thread.
  void finish() { stop_ = true; }
  // Makes run() return at once, from any thread.
  void interrupt();

 private:
  enum class Fate { kGone, kLater, kBroken, kNoLedger };
  Fate send_one(const std::string& id);
  Fate hand_over(const std::string& id, const spool::ItemReader& item);
  Fate refused(const std::string& id, const spool::ItemReader& item, const Status& status,
               bool too_old);
  Fate over(const std::string& id, TimePoint retain_until);
  TimePoint postpone_all();
  TimePoint postpone(const std::string& id);

  std::shared_ptr<const config::Config> config_;
  NoticeStore& store_;
  const Clock& clock_;
  HostMta mta_;
  std::atomic<bool> stop_{false};
  struct Wait {
    std::uint64_t attempts = 0;
    TimePoint next{};
  };
  std::map<std::string, Wait> waits_;  // notices that were refused for now
  // The MTA has answered for good, which could not be noted yet: until when to remember it.
  std::map<std::string, TimePoint> answered_;
  std::uint64_t unreachable_ = 0;  // in a row
  TimePoint not_before_{};
};

}  // namespace bsmtp::mda
