// The socketmap protocol (Postfix socketmap_table(5), sendmail's `socket` map): requests and
// replies are netstrings, "LENGTH:NAME SPACE KEY," and "LENGTH:STATUS SPACE DATA,".
// Guarantees: nothing is read beyond the given text, nothing is kept or allocated for a request;
// the same requests come out however the input is cut.
// Failure: text that can never become a request is kBad, told at the first octet that shows it;
// the only answer is to close the connection, since no later request can be found.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bsmtp::socketmap {

// Octets of "NAME SPACE KEY", and of "STATUS SPACE DATA". An address has at most a few hundred.
inline constexpr std::size_t kMaxRequest = 4096;
// A whole netstring: four digits and two marks more. A reader needs no larger buffer.
inline constexpr std::size_t kMaxFrame = kMaxRequest + 6;

enum class Outcome { kIncomplete, kRequest, kBad };

struct Parsed {
  Outcome outcome = Outcome::kIncomplete;
  // kRequest; views into the given text.
  std::string_view name;     // not empty, no blank
  std::string_view key;      // as sent: any octets, perhaps none
  std::size_t consumed = 0;  // octets of the netstring
};

// The request that `input` begins with. A length has no leading zeros and is at most kMaxRequest.
Parsed parse_request(std::string_view input);

enum class Answer { kOk, kNotFound, kTemp, kTimeout, kPerm };

// Appends a reply. For kOk `data` is the value, else a text for the client's log. Data beyond the
// limit makes the reply a TEMP: a value cut short would be another value.
void append_reply(std::string& out, Answer answer, std::string_view data);

}  // namespace bsmtp::socketmap
