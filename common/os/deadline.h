// Deadline: ends the process with status 75 when it works longer than it may. Postfix bounces a
// message whose agent exceeds its time limit, so an agent must give up earlier, by itself.
// SIGALRM writes one prepared line and _exits: nothing in the handler may allocate or lock.
// One per process; threads started later must block SIGALRM.
#pragma once

#include <chrono>
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
  // A file to unlink at expiry: the temporary file. "" forgets it. Paths over 1 KiB are not
  // remembered. Disarm before the rename that commits: what is committed may be on its way.
  static void cleanup(const std::string& path);
};

}  // namespace bsmtp::os
