// SMTP replies (RFC 5321 4.2, enhanced codes RFC 3463/2034): parsing, and the one place where a
// reply code becomes a Status. Threads: one parser, one thread; replies are values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::smtp {

struct Reply {
  int code = 0;                    // 200-599; 0 = none was received
  std::string enhanced;            // "5.1.1", "" when the server gave none
  std::vector<std::string> lines;  // texts behind code and enhanced code, as sent

  bool is_positive() const { return code >= 200 && code <= 299; }
  bool is_intermediate() const { return code >= 300 && code <= 399; }
  bool is_temporary() const { return code >= 400 && code <= 499; }
  bool is_permanent() const { return code >= 500; }
  // All lines joined by blanks.
  std::string text() const;
  // "550 5.1.1 no such user": what the server said, on one line, printable.
  std::string to_string() const;
  // 2yz ok; 4yz temporary; 5yz permanent; anything else (also 3yz) temporary 4.5.0. The code is
  // the enhanced one when it has the reply's class, else the usual one of the basic code.
  Status to_status(std::string_view context) const;
};

// Reads one reply of at most 4,096 octets a line and 200 lines. LF alone also ends a line.
class ReplyParser {
 public:
  // Consumes up to the end of the reply and returns how many octets that were. Temporary 4.5.0
  // for what is no reply: the connection is of no more use.
  Result<std::size_t> feed(std::string_view data);
  bool done() const { return done_; }
  // The finished reply; the parser is ready for the next one.
  Reply take();

 private:
  Status take_line(std::string_view line);

  std::string line_;
  Reply reply_;
  bool done_ = false;
};

}  // namespace bsmtp::smtp
