// Deadline: ends the process with status 75 when it works longer than it may. Postfix bounces a
// message whose agent exceeds its time limit, so an agent must give up earlier, by itself.
// SIGALRM writes one prepared line and _exits: nothing in the handler may allocate or lock.
// One per process; threads started later must block SIGALRM.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace bsmtp::os {

class Deadline {
 public:
  // (Re)starts the clock. The line written at expiry names `what`, e.g. "bsmtp-out". `reply_code`
  // ("421") stands before it in a session, where the line is a reply and ends with CRLF.
  static void arm(std::chrono::seconds limit, const std::string& what,
                  std::string_view reply_code = {});
  static void disarm();
  // From now on expiry also ends (SIGTERM) what this process has started, at whatever remove: a
  // gpg that hangs would live on. Makes the process the leader of its process group.
  static void end_children_too();

  // A temporary file, or a directory that holds nothing but such, for as long as the object lives:
  // removed at expiry. Sixteen paths of up to 1 KiB are known at once; what is beyond that is left
  // to the sweep. Disarm before the rename that commits: what is committed may be on its way.
  class Scratch {
   public:
    explicit Scratch(const std::string& path);
    Scratch(Scratch&& other) noexcept;
    Scratch& operator=(Scratch&&) = delete;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch();

   private:
    std::size_t slot_;
  };
};

}  // namespace bsmtp::os
