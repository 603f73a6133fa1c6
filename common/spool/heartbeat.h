// Heartbeat: the dispatcher's sign of life, one small file at the spool root that bsmtp-out reads
// before it takes a message. It holds the time of writing and, per peer that is late, since when:
// the time at which its oldest waiting item should have been built into a parcel (arrival plus
// max-age), or its oldest unsent parcel was built; and the peers whose quota is used up. So
// bsmtp-out never scans a queue. Written by rename without fsync: after a crash an older one is as
// good. Threads: functions without state.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {

struct Heartbeat {
  TimePoint time;                         // when the dispatcher wrote it
  std::map<std::string, TimePoint> late;  // peer -> since when its mail is late
  std::map<std::string, TimePoint> full;  // peer -> since when as much waits as may wait
  // The dispatcher doubts the clock and stands still; when it last believed it (the epoch: never).
  std::optional<TimePoint> believed;
};

// By the dispatcher, every `heartbeat` seconds and at the end of a --once run.
Status write_heartbeat(const Spool& spool, const Heartbeat& beat);
// nullopt: no dispatcher has ever run on this spool.
Result<std::optional<Heartbeat>> read_heartbeat(const Spool& spool);

// An admin says that the clock is right: the file `clock-accepted` in the spool's root, which a
// doubting dispatcher takes away. take: was it there?
Status accept_clock(const Spool& spool);
bool take_clock_accepted(const Spool& spool);

// Temporary 4.3.2 when the dispatcher's last sign of life, or the time since which the peer's mail
// is late, is older than `limit`: then the MTA's own queue and delay warnings take over. A spool
// on which no dispatcher ever ran counts from the making of the spool. Temporary 4.2.2 when the
// peer's quota is used up.
Status require_alive(const Spool& spool, const std::string& peer, TimePoint now,
                     std::chrono::seconds limit);

}  // namespace bsmtp::spool
