// Netstrings of the socketmap protocol; see protocol.h.
#include "common/socketmap/protocol.h"

namespace bsmtp::socketmap {
namespace {

constexpr std::size_t kMaxDigits = 4;  // of kMaxRequest

constexpr std::string_view word(Answer answer) {
  switch (answer) {
    case Answer::kOk:
      return "OK";
    case Answer::kNotFound:
      return "NOTFOUND";
    case Answer::kTemp:
      return "TEMP";
    case Answer::kTimeout:
      return "TIMEOUT";
    case Answer::kPerm:
      return "PERM";
  }
  return "TEMP";
}

Parsed bad() {
  return {Outcome::kBad, {}, {}, 0};
}

}  // namespace

Parsed parse_request(std::string_view input) {
  std::size_t length = 0;
  std::size_t at = 0;
  while (at < input.size() && input[at] >= '0' && input[at] <= '9') {
    // Nothing follows a leading zero, and a request is never empty.
    if (at == kMaxDigits || input[0] == '0') {
      return bad();
    }
    length = length * 10 + static_cast<std::size_t>(input[at] - '0');
    ++at;
  }
  if (length > kMaxRequest) {
    return bad();
  }
  if (at == input.size()) {
    return {};
  }
  if (at == 0 || input[at] != ':') {
    return bad();
  }
  const std::string_view rest = input.substr(at + 1);
  const std::string_view payload = rest.substr(0, length);
  const std::size_t blank = payload.find(' ');
  if (blank == 0 || (blank == std::string_view::npos && payload.size() == length)) {
    return bad();
  }
  if (rest.size() <= length) {
    return {};
  }
  if (rest[length] != ',') {
    return bad();
  }
  return {Outcome::kRequest, payload.substr(0, blank), payload.substr(blank + 1), at + length + 2};
}

void append_reply(std::string& out, Answer answer, std::string_view data) {
  std::string_view status = word(answer);
  if (status.size() + 1 + data.size() > kMaxRequest) {
    status = word(Answer::kTemp);
    data = "the value is too long";
  }
  out += std::to_string(status.size() + 1 + data.size());
  out += ':';
  out += status;
  out += ' ';
  out += data;
  out += ',';
}

}  // namespace bsmtp::socketmap
