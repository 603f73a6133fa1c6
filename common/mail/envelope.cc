#include "common/mail/envelope.h"

#include <algorithm>
#include <set>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::mail {
namespace {

bool is_graphic(char c) {
  return c > ' ' && c < 0x7F;
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// RFC 5321 4.1.2 esmtp-keyword.
bool is_keyword(std::string_view text) {
  return !text.empty() && text.size() <= 64 && is_alnum(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

// RFC 5321 4.1.2 esmtp-value, RFC 6531 3.3 with UTF-8.
bool is_value(std::string_view text) {
  return !text.empty() && is_clean_utf8(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return c == ' ' || c == '='; });
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Status bad_param(std::string_view keyword, std::string_view why) {
  return Status::permanent("5.5.4", str_cat({"parameter ", printable(keyword, 64), ": ", why}));
}

bool is_envid(std::string_view value) {
  return !value.empty() && value.size() <= kMaxEnvid && is_xtext(value);
}

// RFC 3461 4.2: "rfc822;xtext"; RFC 6533 3: type utf-8 may carry UTF-8 as it is.
bool is_orcpt(std::string_view value, std::size_t max_length) {
  const std::size_t semicolon = value.find(';');
  if (value.size() > max_length || semicolon == std::string_view::npos || semicolon == 0) {
    return false;
  }
  const std::string_view type = value.substr(0, semicolon);
  const std::string_view text = value.substr(semicolon + 1);
  const bool type_ok = std::all_of(type.begin(), type.end(),
                                   [](char c) { return is_alnum(c) || c == '-' || c == '.'; });
  const bool text_ok = iequals(type, "utf-8") ? is_value(text) : is_xtext(text);
  return type_ok && !text.empty() && text_ok;
}

// RFC 3461 4.1.
bool is_notify(std::string_view value) {
  if (value == "NEVER") return true;
  std::set<std::string_view> seen;
  for (const std::string_view word : split(value, ',')) {
    const bool known = word == "SUCCESS" || word == "FAILURE" || word == "DELAY";
    if (!known || !seen.insert(word).second) return false;
  }
  return true;
}

struct ParamView {
  std::string_view keyword;
  std::string_view value;
  bool has_value = false;
};

Result<ParamView> split_param(std::string_view word) {
  const std::size_t equals = word.find('=');
  ParamView param;
  param.keyword = word.substr(0, equals);
  if (!is_keyword(param.keyword)) return bad_param(word, "is no ESMTP keyword");
  if (equals != std::string_view::npos) {
    param.has_value = true;
    param.value = word.substr(equals + 1);
    if (!is_value(param.value)) return bad_param(param.keyword, "has a malformed value");
  }
  return param;
}

Status add_other(const ParamView& param, std::vector<Param>& other) {
  for (const Param& have : other) {
    if (iequals(have.keyword, param.keyword)) return bad_param(param.keyword, "stands twice");
  }
  other.push_back({std::string(param.keyword), std::string(param.value), param.has_value});
  return Status::ok();
}

// Sets a parameter that may stand once.
Status set_once(const ParamView& param, bool valid, std::string value, std::string& target) {
  if (!target.empty()) return bad_param(param.keyword, "stands twice");
  if (!param.has_value || !valid) return bad_param(param.keyword, "has a malformed value");
  target = std::move(value);
  return Status::ok();
}

Status apply_mail_param(std::string_view word, Envelope& envelope) {
  TRY_ASSIGN(const ParamView param, split_param(word));
  const std::string upper = to_upper(param.value);
  if (iequals(param.keyword, "SIZE")) {
    if (envelope.size) return bad_param(param.keyword, "stands twice");
    const auto size = parse_u64(param.value);
    if (!param.has_value || !size) return bad_param(param.keyword, "is no number");
    envelope.size = *size;
    return Status::ok();
  }
  if (iequals(param.keyword, "BODY")) {
    return set_once(param, upper == "7BIT" || upper == "8BITMIME", upper, envelope.body);
  }
  if (iequals(param.keyword, "RET")) {
    return set_once(param, upper == "FULL" || upper == "HDRS", upper, envelope.ret);
  }
  if (iequals(param.keyword, "ENVID")) {
    return set_once(param, is_envid(param.value), upper_xtext(param.value), envelope.envid);
  }
  if (iequals(param.keyword, "SMTPUTF8")) {
    if (envelope.smtputf8) return bad_param(param.keyword, "stands twice");
    if (param.has_value) return bad_param(param.keyword, "takes no value");
    envelope.smtputf8 = true;
    return Status::ok();
  }
  return add_other(param, envelope.other);
}

Status apply_rcpt_param(std::string_view word, std::size_t max_orcpt, Recipient& recipient) {
  TRY_ASSIGN(const ParamView param, split_param(word));
  if (iequals(param.keyword, "NOTIFY")) {
    const std::string upper = to_upper(param.value);
    return set_once(param, is_notify(upper), upper, recipient.notify);
  }
  if (iequals(param.keyword, "ORCPT")) {
    const bool utf8 = istarts_with(param.value, "utf-8;");  // an encoding of its own
    return set_once(param, is_orcpt(param.value, max_orcpt),
                    utf8 ? std::string(param.value) : upper_xtext(param.value), recipient.orcpt);
  }
  return add_other(param, recipient.other);
}

struct Command {
  std::string_view address;
  std::vector<std::string_view> params;
};

// "<path> PARAM PARAM=VALUE"
Result<Command> parse_arguments(std::string_view arguments, const char* code) {
  const auto bad = [&](std::string_view why) {
    return Status::permanent(code, str_cat({"\"", printable(arguments, 300), "\": ", why}));
  };
  if (arguments.size() > kMaxCommandLine) return bad("the command is too long");
  arguments = trim(arguments);
  if (arguments.empty() || arguments[0] != '<') return bad("'<' expected before the address");
  std::size_t end = 1;
  bool quoted = false;
  for (; end < arguments.size() && (quoted || arguments[end] != '>'); ++end) {
    if (arguments[end] == '"') {
      quoted = !quoted;
    } else if (quoted && arguments[end] == '\\') {
      ++end;
    }
  }
  if (end >= arguments.size()) return bad("'>' expected after the address");
  const std::string_view path = arguments.substr(1, end - 1);
  const std::string_view rest = arguments.substr(end + 1);
  if (!is_safe_path(path)) return bad("the address is malformed");
  const std::string_view address = strip_source_route(path);
  if (address.empty() && !path.empty()) return bad("the source route is malformed");
  if (!rest.empty() && rest[0] != ' ' && rest[0] != '\t') return bad("text behind '>'");
  return Command{address, split_blank(rest)};
}

void append(std::string& out, std::string_view keyword, std::string_view value) {
  if (!value.empty()) {
    out += str_cat({" ", keyword, "=", value});
  }
}

Status append_other(std::string& out, const std::vector<Param>& other) {
  for (const Param& param : other) {
    const bool valid = is_keyword(param.keyword) &&
                       (param.has_value ? is_value(param.value) : param.value.empty());
    if (!valid) return bad_param(param.keyword, "cannot be written");
    out += str_cat({" ", param.keyword, param.has_value ? "=" : "", param.value});
  }
  return Status::ok();
}

Result<std::string> checked_line(std::string line) {
  if (line.size() > kMaxCommandLine) {
    return Status::permanent("5.5.4", str_cat({"command of ", std::to_string(line.size()),
                                               " octets: ", printable(line, 100)}));
  }
  return line;
}

}  // namespace

bool is_xtext(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_graphic(text[i]) || text[i] == '=') return false;
    if (text[i] != '+') continue;
    if (i + 2 >= text.size() || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0) {
      return false;
    }
    i += 2;
  }
  return true;
}

std::string upper_xtext(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '+') {
      const std::string hex = to_upper(std::string_view(out).substr(i + 1, 2));
      out.replace(i + 1, hex.size(), hex);
      i += hex.size();
    }
  }
  return out;
}

std::string to_xtext(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_graphic(c) && c != '+' && c != '=') {
      out += c;
    } else {
      const auto u = static_cast<unsigned char>(c);
      out += '+';
      out += kHex[u >> 4U];
      out += kHex[u & 15U];
    }
  }
  return out;
}

Result<std::string> from_xtext(std::string_view text) {
  if (!is_xtext(text)) {
    return Status::permanent("5.5.4", "not xtext (RFC 3461 4): " + printable(text, 200));
  }
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::string> format_mail(const Envelope& envelope) {
  if (!is_safe_path(envelope.sender)) {
    return Status::permanent(
        "5.1.7", "sender <" + printable(envelope.sender, 300) + "> cannot be written as a path");
  }
  const bool valid =
      (envelope.body.empty() || envelope.body == "7BIT" || envelope.body == "8BITMIME") &&
      (envelope.ret.empty() || envelope.ret == "FULL" || envelope.ret == "HDRS") &&
      (envelope.envid.empty() || is_envid(envelope.envid));
  if (!valid) return bad_param("BODY, RET or ENVID", "has a malformed value");
  std::string out = str_cat({"MAIL FROM:<", envelope.sender, ">"});
  if (envelope.size) {
    append(out, "SIZE", std::to_string(*envelope.size));
  }
  append(out, "BODY", envelope.body);
  append(out, "RET", envelope.ret);
  append(out, "ENVID", envelope.envid);
  if (envelope.smtputf8) {
    out += " SMTPUTF8";
  }
  TRY(append_other(out, envelope.other));
  return checked_line(std::move(out));
}

Result<std::string> format_rcpt(const Recipient& recipient) {
  if (recipient.address.empty() || !is_safe_path(recipient.address)) {
    return Status::permanent("5.1.3", "recipient <" + printable(recipient.address, 300) +
                                          "> cannot be written as a path");
  }
  const bool valid = (recipient.notify.empty() || is_notify(recipient.notify)) &&
                     (recipient.orcpt.empty() || is_orcpt(recipient.orcpt, kMaxOrcpt));
  if (!valid) return bad_param("NOTIFY or ORCPT", "has a malformed value");
  std::string out = str_cat({"RCPT TO:<", recipient.address, ">"});
  append(out, "NOTIFY", recipient.notify);
  append(out, "ORCPT", recipient.orcpt);
  TRY(append_other(out, recipient.other));
  return checked_line(std::move(out));
}

Result<Envelope> parse_mail(std::string_view arguments) {
  TRY_ASSIGN(const Command command, parse_arguments(arguments, "5.1.7"));
  Envelope envelope;
  envelope.sender = command.address;
  for (const std::string_view param : command.params) {
    TRY(apply_mail_param(param, envelope));
  }
  return envelope;
}

Result<Recipient> parse_rcpt(std::string_view arguments, std::size_t max_orcpt) {
  TRY_ASSIGN(const Command command, parse_arguments(arguments, "5.1.3"));
  if (command.address.empty()) {
    return Status::permanent("5.1.3", "a recipient's address is empty");
  }
  Recipient recipient;
  recipient.address = command.address;
  for (const std::string_view param : command.params) {
    TRY(apply_rcpt_param(param, max_orcpt, recipient));
  }
  return recipient;
}

Status apply_mail_params(const std::vector<std::string>& params, Envelope& envelope) {
  for (const std::string& param : params) {
    TRY(apply_mail_param(param, envelope));
  }
  return Status::ok();
}

Status apply_rcpt_params(const std::vector<std::string>& params, Recipient& recipient) {
  for (const std::string& param : params) {
    TRY(apply_rcpt_param(param, kMaxOrcpt, recipient));
  }
  return Status::ok();
}

}  // namespace bsmtp::mail
