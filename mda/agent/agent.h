// The frame of every program that an MTA starts per message: whatever happens inside, it exits
// 0, 75, or a deliberate 65/69, and on failure prints exactly one line "4.x.y text" or
// "5.x.y text". Both MTAs bounce users' mail for other codes (Postfix: 1, 70, 71, 74, 78, 127 and
// overstepped time limits), so usage, configuration, exceptions and bad_alloc all end in 75.
// Sets: SIGPIPE ignored, umask 007, SIGALRM deadline, descriptors 0-2 open.
// May not: be used by a program with threads before run_agent() is entered.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>

#include "common/base/status.h"

namespace bsmtp::mda {

inline constexpr int kExitOk = 0;
inline constexpr int kExitData = 65;    // the message itself cannot be carried (5.6.x, 5.1.x ...)
inline constexpr int kExitPolicy = 69;  // refused on purpose (5.4.x, 5.7.x)
inline constexpr int kExitTemporary = 75;

// The one table from Status to exit code.
int exit_code(const Status& status);

struct AgentOptions {
  std::string name;                    // program, for messages
  std::chrono::seconds deadline{300};  // until set_deadline(): the time to load a configuration
  // Standard input and output are an LMTP session: a failure is the reply "421 4.x.y text", and
  // input is not drained, because the client waits for that reply before it sends anything.
  bool lmtp = false;
};

// --lmtp stands among the options: told before they are parsed, for the failure of just that.
bool asks_for_lmtp(int argc, const char* const* argv);

// Runs `body` inside the frame and returns what main returns. On failure drains standard input
// (not from a terminal) and writes the line to standard output, where both MTAs look.
int run_agent(const AgentOptions& options, const std::function<Status()>& body);

// Replaces the deadline (config agent_deadline, which is below the MTA's limit).
void set_deadline(const AgentOptions& options, std::chrono::seconds limit);

// Remembers getppid() at construction: a pipe has no end mark, so when the MTA dies in
// mid-message its agent sees an ordinary end of input.
class ParentWatch {
 public:
  ParentWatch();
  // Ask after fsync and before rename: temporary 4.3.0 when the parent is gone.
  Status check() const;

 private:
  pid_t parent_;
};

// Becomes, for good, the owner of the spool directory when any id is root (sendmail F=S); a
// spool that root owns is the only way to run as root (tests, one-user sites).
Status become_service_user(const std::string& spool_directory);

// Of bsmtp-dispatch: becomes, for good, the owner of the signing key, with the group of the spool,
// when any id is root; the spool's owner where there is no such home yet. Temporary 4.3.5 when only
// one of the two belongs to root: what it made would be out of the services' reach.
Status become_dispatch_user(const std::string& spool_directory, const std::string& sign_home);

// Reads standard input to its end and drops it.
void drain_stdin();

}  // namespace bsmtp::mda
