#include "common/smtp/reply.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"

namespace bsmtp::smtp {
namespace {

constexpr std::size_t kMaxLine = 4096;
constexpr std::size_t kMaxLines = 200;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Length of an enhanced code of class `digit` at the front ("5.1.1"), 0 when there is none.
std::size_t enhanced_length(std::string_view text, char digit) {
  if (text.size() < 5 || text[0] != digit || text[1] != '.') return 0;
  std::size_t i = 2;
  for (int part = 0; part < 2; ++part) {
    const std::size_t begin = i;
    while (i < text.size() && i - begin < 3 && is_digit(text[i])) {
      ++i;
    }
    if (i == begin) return 0;
    if (part == 0 && (i == text.size() || text[i++] != '.')) return 0;
  }
  return i == text.size() || text[i] == ' ' ? i : 0;
}

// For servers without enhanced codes (RFC 2034 absent).
const char* usual_code(int code) {
  switch (code) {
    case 421:
      return "4.3.2";
    case 450:
      return "4.2.0";
    case 452:
      return "4.3.1";
    case 500:
    case 502:
      return "5.5.1";
    case 501:
    case 504:
      return "5.5.4";
    case 503:
      return "5.5.1";
    case 551:
      return "5.1.6";
    case 552:
      return "5.3.4";
    case 553:
      return "5.1.3";
    default:
      return code >= 500 ? "5.0.0" : "4.0.0";
  }
}

Status no_reply(std::string_view line) {
  return Status::temporary("4.5.0", "not an SMTP reply: \"" + printable(line, 200) + "\"");
}

}  // namespace

std::string Reply::text() const {
  return join(lines, " ");
}

std::string Reply::to_string() const {
  if (code == 0) return "no reply";
  std::string out = std::to_string(code);
  for (const std::string& part : {enhanced, text()}) {
    if (!part.empty()) {
      out += " " + part;
    }
  }
  return printable(out);
}

Status Reply::to_status(std::string_view context) const {
  if (is_positive()) return Status::ok();
  const std::string said = str_cat({context, context.empty() ? "" : ": ", to_string()});
  if (!is_temporary() && !is_permanent()) return Status::temporary("4.5.0", said);
  const std::string_view status_code = enhanced.empty() ? usual_code(code) : enhanced.c_str();
  return is_temporary() ? Status::temporary(status_code, said)
                        : Status::permanent(status_code, said);
}

Status ReplyParser::take_line(std::string_view line) {
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  const bool code_ok = line.size() >= 3 && line[0] >= '2' && line[0] <= '5' && is_digit(line[1]) &&
                       is_digit(line[2]) && (line.size() == 3 || line[3] == ' ' || line[3] == '-');
  if (!code_ok) return no_reply(line);
  const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  if (reply_.code != 0 && reply_.code != code) return no_reply(line);
  if (reply_.lines.size() == kMaxLines) return no_reply("more than 200 lines");
  reply_.code = code;
  std::string_view text = line.substr(std::min<std::size_t>(4, line.size()));
  if (const std::size_t n = enhanced_length(text, line[0]); n != 0) {
    if (reply_.lines.empty()) {
      reply_.enhanced = text.substr(0, n);
    }
    text.remove_prefix(std::min(n + 1, text.size()));
  }
  reply_.lines.emplace_back(text);
  done_ = line.size() == 3 || line[3] == ' ';
  return Status::ok();
}

Result<std::size_t> ReplyParser::feed(std::string_view data) {
  std::size_t consumed = 0;
  while (!done_ && consumed < data.size()) {
    const std::string_view rest = data.substr(consumed);
    const std::size_t nl = rest.find('\n');
    const std::string_view part = rest.substr(0, nl);
    if (line_.size() + part.size() > kMaxLine) return no_reply("a line of over 4096 octets");
    line_ += part;
    consumed += part.size();
    if (nl == std::string_view::npos) break;
    ++consumed;
    const std::string line = std::exchange(line_, {});
    TRY(take_line(line));
  }
  return consumed;
}

Reply ReplyParser::take() {
  done_ = false;
  return std::exchange(reply_, {});
}

}  // namespace bsmtp::smtp
