// An LMTP session on standard input and output, as Postfix spawn(8) and a sendmail program mailer
// with F=z start it. Threads: none may run.
#pragma once

#include <chrono>

#include "common/lmtp/server.h"
#include "mda/agent/agent.h"

namespace bsmtp::mda {

// Serves one session. `limit` is restarted while commands are waited for and for each text: a
// client that stops, or a message that takes longer, ends the process with "421" and status 75.
Status serve_standard_streams(lmtp::Handler& handler, lmtp::Options options,
                              const AgentOptions& agent, std::chrono::seconds limit);

}  // namespace bsmtp::mda
