// Envelope: reverse-path, recipients and their ESMTP parameters as they travel from agent to
// spool item, batch and resubmission. Addresses are paths without angle brackets, octets as
// received (case kept); "" is the null reverse-path. Values of parameters are kept in their
// wire form (xtext stays xtext, RFC 3461 4: ORCPT is never decoded and re-encoded), but for the
// case of the digits in xtext. Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::mail {

struct Param {
  std::string keyword;  // as received; compared case-insensitively
  std::string value;    // "" when the parameter has no "="
  bool has_value = false;
};

struct Recipient {
  std::string address;
  std::string notify;  // "", "NEVER" or a comma list of SUCCESS, FAILURE, DELAY
  std::string orcpt;   // "rfc822;xtext", "" when absent
  std::vector<Param> other;
};

struct Envelope {
  std::string sender;
  std::string envid;  // xtext
  std::string ret;    // "", "FULL", "HDRS"
  std::string body;   // "", "7BIT", "8BITMIME"
  std::optional<std::uint64_t> size;
  bool smtputf8 = false;
  std::vector<Param> other;
  std::vector<Recipient> recipients;
};

// RFC 5321 4.5.3.1 and RFC 3461 4, 5.4 as a receiver must grant them: command lines of 1036
// octets, ENVID of 100, ORCPT of 500 octets. Longer input is refused, permanent 5.5.4.
inline constexpr std::size_t kMaxCommandLine = 2048;
inline constexpr std::size_t kMaxEnvid = 100;
inline constexpr std::size_t kMaxOrcpt = 500;

// "MAIL FROM:<...> SIZE=.. BODY=.. RET=.. ENVID=.." without CRLF. Refuses (5.1.7) a sender with
// CR, LF, NUL, unquoted '>' or blank: nothing that could inject a command is ever written.
Result<std::string> format_mail(const Envelope& envelope);
// "RCPT TO:<...> NOTIFY=.. ORCPT=.."; the same checks (5.1.3).
Result<std::string> format_rcpt(const Recipient& recipient);
// The argument part after "MAIL FROM:" / "RCPT TO:" (blanks before '<' tolerated). Source
// routes "@a,@b:u@c" are stripped (RFC 5321 4.1.2: receivers accept and ignore them).
// Duplicate parameters are refused. parse_mail leaves recipients empty.
Result<Envelope> parse_mail(std::string_view arguments);
// A longer `max_orcpt` is for commands of an MTA whose own encoding made a good ORCPT longer; what
// is written has kMaxOrcpt.
Result<Recipient> parse_rcpt(std::string_view arguments, std::size_t max_orcpt = kMaxOrcpt);
// Parameter lists as a milter gets them (argv after the address).
Status apply_mail_params(const std::vector<std::string>& params, Envelope& envelope);
Status apply_rcpt_params(const std::vector<std::string>& params, Recipient& recipient);

// RFC 3461 4 wants the digits behind '+' in upper case. Both MTAs take lower case too, so
// is_xtext() and the parsers do, and upper_xtext() makes them upper case: what is passed on is the
// RFC's.
bool is_xtext(std::string_view text);
std::string upper_xtext(std::string_view text);
std::string to_xtext(std::string_view text);
Result<std::string> from_xtext(std::string_view text);

}  // namespace bsmtp::mail
