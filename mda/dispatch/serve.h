// serve(): the life of the process around Service: configuration, log, identity, signals, and a
// new Service after each good reload. Returns when stopped (ok), done (--once), or with trouble
// (temporary). Threads: the main one; none may exist before.
#pragma once

#include <string>

#include "common/base/status.h"
#include "mda/dispatch/service.h"

namespace bsmtp::mda {

// `file`: --config, "" = default. `foreground`: log to standard error instead of syslog.
Status serve(const std::string& file, const ServiceOptions& options, bool foreground);

}  // namespace bsmtp::mda
