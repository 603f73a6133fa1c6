// Heartbeat: the dispatcher's sign of life, one small file at the spool root that bsmtp-out reads
// before it takes a message. It holds the time of writing and, per peer, the arrival time of the
// oldest item that still waits in incoming/ or a parcel not yet handed over: so bsmtp-out never
// scans a queue. Written by rename without fsync: after a crash an older one is as good.
// Threads: functions without state.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {

struct Heartbeat {
  TimePoint time;                           // when the dispatcher wrote it
  std::map<std::string, TimePoint> oldest;  // peer -> arrival of its oldest waiting item
};

// By the dispatcher, every `heartbeat` seconds and at the end of a --once run.
Status write_heartbeat(const Spool& spool, const Heartbeat& beat);
// nullopt: no dispatcher has ever run on this spool.
Result<std::optional<Heartbeat>> read_heartbeat(const Spool& spool);

// Temporary 4.3.2 when the dispatcher's last sign of life is older than `beat_limit`, or the
// peer's oldest waiting item older than `item_limit` (which includes the peer's max-age, up to
// which items wait on purpose): then the MTA's own queue and delay warnings take over. A spool on
// which no dispatcher ever ran counts from the making of the spool.
Status require_alive(const Spool& spool, const std::string& peer, TimePoint now,
                     std::chrono::seconds beat_limit, std::chrono::seconds item_limit);

}  // namespace bsmtp::spool
