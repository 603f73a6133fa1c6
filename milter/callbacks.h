// The thin layer between libmilter and Session; the only user of <libmilter/mfapi.h>.
// Guarantees: no exception crosses into libmilter; whatever goes wrong while a message is looked
// at ends in SMFIS_TEMPFAIL for that message, never in mail passing by the rules; nothing is
// answered at RCPT. An MTA that cannot add recipients with parameters or delete them is refused
// when it connects.
// Threads: libmilter calls from its workers; Runtime's members are safe to share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "milter/policy.h"

namespace bsmtp::milter {

inline constexpr const char* kProgram = "bsmtp-milter";

// What all connections share.
class Runtime {
 public:
  explicit Runtime(std::shared_ptr<const Policy> policy) : policy_(std::move(policy)) {}

  PolicyHolder& policy() { return policy_; }
  // From now on new connections are refused; their mail is tried again by its sender.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }

  void message_begins() { ++in_flight_; }
  void message_ends();
  // No message is between MAIL and its end, and the last reply is `grace` old, so that libmilter,
  // which sends it after our callback, had time to.
  bool is_idle(std::chrono::milliseconds grace) const;
  std::int64_t in_flight() const { return in_flight_; }

 private:
  PolicyHolder policy_;
  std::atomic<bool> draining_ = false;
  std::atomic<std::int64_t> in_flight_ = 0;
  std::atomic<std::chrono::steady_clock::rep> last_end_ = 0;
};

// Registers the filter and opens `socket` ("unix:PATH", "inet:PORT@HOST", "inet6:PORT@HOST").
// `runtime` must outlive serve(). Once per process. Temporary 4.3.0 names the socket.
Status open_filter(Runtime& runtime, const std::string& socket);

// libmilter's loop; returns only when it fails.
Status serve();

}  // namespace bsmtp::milter
