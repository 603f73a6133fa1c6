// When a peer's receipts came: peers/<name>/receipts, written by the dispatcher when a receipt is
// applied. That it is there decides whether silence of this peer is trusted to mean anything: a
// peer that never sent a receipt may have been configured for them by mistake.
// Failure: temporary, naming the file. Threads: functions without state.
#pragma once

#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {

inline constexpr std::string_view kReceiptTimesName = "receipts";  // in peers/<name>/

struct ReceiptTimes {
  TimePoint first;
  TimePoint last;
};

// nullopt: none ever came. A file that cannot be read as one counts as "came at some time".
Result<std::optional<ReceiptTimes>> read_receipt_times(const Spool& spool, std::string_view peer);
// Durable when ok. Times only move forward.
Status note_receipt(const Spool& spool, const std::string& peer, TimePoint now);

}  // namespace bsmtp::spool
