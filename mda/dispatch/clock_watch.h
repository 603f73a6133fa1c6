// ClockWatch: may the time of day be believed? A clock that jumped a month ahead (a dead battery, a
// restored snapshot, a typing error) would make every parcel and every message expire at once and
// tell thousands of senders; one before this program was built dates parcels that no peer takes.
// While the clock is in doubt the dispatcher stands still: nothing is built, sent, delivered,
// expired or swept, an alarm is logged each hour, and bsmtp-out leaves new mail with the MTA when
// it has waited too long. It goes on by itself when the clock is right again, or when an admin says
// that it is (`bsmtpctl clock accept`): a gateway that really was off for a month. Failure: none;
// an unreadable heartbeat counts as none. Threads: one.
#pragma once

#include <optional>

#include "common/base/clock.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

// How far the clock may have moved since the dispatcher last believed it: as long as a parcel may
// live at most.
inline constexpr std::chrono::hours kMostAsleep{30 * 24};

enum class ClockDoubt { kNone, kBeforeBuild, kJump };
// `built`: when this program was made; `believed`: when the clock was last believed. Pure.
ClockDoubt judge_clock(TimePoint now, TimePoint built, std::optional<TimePoint> believed);
// The day this program was built (SOURCE_DATE_EPOCH, when that is set).
TimePoint build_day();

class ClockWatch {
 public:
  // Looks up in the spool when the clock was last believed.
  explicit ClockWatch(const spool::Spool& spool);
  // False: stand still. Logs the alarm.
  bool believe(TimePoint now);
  // While in doubt: when it was last believed, for the heartbeat.
  std::optional<TimePoint> believed_before() const;

 private:
  const spool::Spool& spool_;
  std::optional<TimePoint> believed_;
  bool doubted_ = false;
  bool accepted_ = false;  // an admin said so, for as long as this process lives
  TimePoint told_{};
};

}  // namespace bsmtp::mda
