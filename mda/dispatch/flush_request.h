// A wish to close batches now, left for a running dispatcher by `bsmtpctl queue flush`: the file
// peers/<peer>/flush, which the dispatcher sees (inotify), honours and removes. May be made any
// time; with no dispatcher running it is honoured at the next start.
// Threads and processes: any.
#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

inline constexpr std::string_view kFlushName = "flush";

Status request_flush(const spool::Spool& spool, const std::string& peer);
// True when there was one; it is removed.
Result<bool> take_flush_request(const spool::Spool& spool, const std::string& peer);

}  // namespace bsmtp::mda
