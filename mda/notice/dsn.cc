// See dsn.h.
#include "mda/notice/dsn.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/digest/sha256.h"
#include "common/mail/address.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kMaxHeader = 65536;
constexpr std::size_t kMaxLine = 998;  // RFC 5322 2.1.1

bool wants(std::string_view notify, std::string_view word) {
  for (const std::string_view part : split(notify, ',')) {
    if (iequals(trim(part), word)) {
      return true;
    }
  }
  return false;
}

// Beyond ASCII a notice may only be where the way home carries it: its reader's own address shows
// that. Any other notice must pass an MTA without SMTPUTF8, which may be the reason for it.
bool needs_smtputf8(const DsnRequest& request) {
  return !mail::is_ascii(request.envelope.sender);
}

// One header value of a delivery-status part: a long remote answer is folded at blanks.
std::string field(std::string_view name, std::string_view value, bool utf8 = false) {
  std::string out = str_cat({name, ":"});
  std::size_t column = out.size();
  std::string clean = printable(value, 900);
  if (!utf8) {
    std::replace_if(
        clean.begin(), clean.end(), [](char c) { return static_cast<unsigned char>(c) > 126; },
        '?');
  }
  for (const std::string_view word : split_blank(clean)) {
    if (column + word.size() > 76 && column > name.size() + 1) {
      out += "\r\n";
      column = 0;
    }
    out += ' ';
    out += word;
    column += word.size() + 1;
  }
  return out + "\r\n";
}

// RFC 6533 3: what no header line may hold as it is (controls, bidi marks) becomes \x{HEX}.
std::string embedded(std::string_view character) {
  std::uint32_t code = static_cast<unsigned char>(character[0]);
  if (character.size() > 1) {
    code &= 0xFFU >> (character.size() + 1);
    for (const char c : character.substr(1)) {
      code = (code << 6U) | (static_cast<unsigned char>(c) & 0x3FU);
    }
  }
  std::string hex;
  for (; code != 0 || hex.size() < 2; code >>= 4U) {
    hex.insert(hex.begin(), "0123456789ABCDEF"[code & 0xFU]);
  }
  return str_cat({"\\x{", hex, "}"});
}

// An address field must name the address exactly, blanks included, so it is neither folded (1000
// octets at most have room on a line) nor cleaned by replacement as far as its type has an
// encoding. `encoded`: the address is in the utf-8 type's encoding already. Without `utf8` all
// that is not ASCII is encoded (RFC 6533 3, utf-8-addr-xtext).
std::string address_field(std::string_view name, std::string_view type, std::string_view address,
                          bool encoded, bool utf8) {
  std::string out;
  const bool safe = printable(address, 900) == address && (utf8 || mail::is_ascii(address));
  if (!iequals(type, "utf-8") || (safe && address.find("\\x{") == std::string_view::npos)) {
    out = printable(address, 900);
  } else {
    for (std::size_t i = 0, n = 0; i < address.size() && out.size() < 900; i += n) {
      for (n = 1; i + n < address.size() && (static_cast<unsigned char>(address[i + n]) >> 6U) == 2;
           ++n) {
      }
      const std::string_view character = address.substr(i, n);
      const bool special = !encoded && n == 1 &&
                           std::string_view("\\ +=").find(character[0]) != std::string_view::npos;
      const bool plain = printable(character) == character && !special && (utf8 || n == 1);
      out += plain ? std::string(character) : embedded(character);
    }
  }
  return str_cat({name, ": ", type, "; ", out, "\r\n"});
}

std::string decoded_xtext(const std::string& text) {
  const auto decoded = mail::from_xtext(text);
  return printable(decoded.is_ok() ? decoded.value() : text, 500);
}

// RFC 3464 2.3.1: "Original-Recipient: rfc822; addr" from ORCPT's "rfc822;xtext", as a whole line.
// The utf-8 type has an encoding of its own (RFC 6533 3), which is legal as it stands.
std::string original_recipient(const std::string& orcpt, bool utf8) {
  const std::size_t semicolon = orcpt.find(';');
  if (semicolon == std::string::npos) {
    return "";
  }
  const std::string type = printable(orcpt.substr(0, semicolon), 60);
  const std::string address = orcpt.substr(semicolon + 1);
  return address_field("Original-Recipient", type,
                       iequals(type, "utf-8") ? address : decoded_xtext(address), true, utf8);
}

struct Words {
  std::string_view subject;
  std::string_view opening;
  std::string_view action;
};

Words words_for(NoticeKind kind) {
  switch (kind) {
    case NoticeKind::kDelay:
      return {"Delayed mail (still being tried)",
              "As far as is known here, your message has not yet been delivered to the\r\n"
              "recipients below. It is still being tried; you need not send it again.\r\n",
              "delayed"};
    case NoticeKind::kRelayed:
      return {"Mail relayed",
              "Your message was handed on to a system that may send no further reports.\r\n",
              "relayed"};
    case NoticeKind::kUnknown:
      return {"Mail whose fate is not known",
              "Your message was handed on towards the recipients below, but the receiving\r\n"
              "gateway has not confirmed it. It may have been delivered or not. It will not\r\n"
              "be sent again: please ask the recipients, or send it once more if a second\r\n"
              "copy does no harm.\r\n",
              "failed"};
    case NoticeKind::kFailure:
      break;
  }
  return {"Undelivered mail returned to sender",
          "Your message could not be delivered to the recipients below. It will not be\r\n"
          "tried again.\r\n",
          "failed"};
}

std::string human_part(const DsnRequest& request) {
  std::string out = str_cat({"This is the mail gateway of ", request.reporting_mta, ".\r\n\r\n",
                             words_for(request.kind).opening, "\r\n"});
  for (const DsnRecipient& r : request.recipients) {
    out += str_cat(
        {"<", printable(r.recipient.address, 300), ">: ", printable(r.reason, 500), "\r\n"});
    if (!r.diagnostic.empty()) {
      out += str_cat({"    The receiving system said: ", printable(r.diagnostic, 500), "\r\n"});
    }
  }
  out += str_cat({"\r\nFor help write to ", request.postmaster, ".\r\n"});
  return out;
}

std::string status_part(const DsnRequest& request) {
  const bool utf8 = needs_smtputf8(request);
  std::string out = field("Reporting-MTA", str_cat({"dns; ", request.reporting_mta}));
  if (!request.envelope.envid.empty()) {
    out += field("Original-Envelope-Id", decoded_xtext(request.envelope.envid), utf8);
  }
  out += field("Arrival-Date", format_rfc5322(request.arrival));
  for (const DsnRecipient& r : request.recipients) {
    out += "\r\n";
    out += original_recipient(r.recipient.orcpt, utf8);
    const bool ascii = mail::is_ascii(r.recipient.address);
    out += address_field("Final-Recipient", ascii ? "rfc822" : "utf-8", r.recipient.address, false,
                         utf8);
    out += field("Action", words_for(request.kind).action);
    out += field("Status", r.status);
    if (!r.remote_mta.empty()) {
      out += field("Remote-MTA", str_cat({"dns; ", r.remote_mta}));
    }
    if (!r.diagnostic.empty() && !r.diagnostic_type.empty()) {
      out += field("Diagnostic-Code", str_cat({r.diagnostic_type, "; ", r.diagnostic}), utf8);
    }
    out += field("Last-Attempt-Date", format_rfc5322(request.now));
    if (request.kind == NoticeKind::kDelay) {
      out += field("Will-Retry-Until", format_rfc5322(request.will_retry_until));
    }
  }
  return out;
}

bool has_eight_bit(std::string_view text) {
  return !mail::is_ascii(text);
}

std::string part(std::string_view boundary, std::string_view type, std::string_view body) {
  return str_cat({"--", boundary, "\r\nContent-Type: ", type,
                  "\r\nContent-Transfer-Encoding: ", has_eight_bit(body) ? "8bit" : "7bit",
                  "\r\n\r\n", body, body.ends_with("\r\n") ? "" : "\r\n", "\r\n"});
}

std::string letter_head(std::string_view host, std::string_view postmaster, std::string_view to,
                        std::string_view subject, TimePoint now, std::string_view id) {
  return str_cat({"From: Mail gateway <", postmaster, ">\r\nTo: <", to, ">\r\nSubject: ", subject,
                  "\r\nDate: ", format_rfc5322(now), "\r\nMessage-ID: <", id, "@", host,
                  ">\r\nMIME-Version: 1.0\r\n"});
}

// The notice's id can be foreseen by who sends the message that comes back in it: if the delimiter
// could be too, he would write parts of the report. Nobody writes the digest of what he writes.
std::string boundary_for(const DsnRequest& request) {
  digest::Sha256 digest;
  for (const std::string* text :
       {&request.notice_id, &request.original_header, &request.original_body}) {
    digest.update(*text);
    digest.update(std::string_view("\0", 1));
  }
  return "=_dsn_" + digest.finish_hex().substr(0, 44);
}

// Text with every line end made CRLF.
std::string crlf_lines(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n' && !out.ends_with('\r')) {
      out += '\r';
    }
    out += c;
  }
  return out.ends_with("\r\n") ? out : out + "\r\n";
}

}  // namespace

std::string_view notice_kind_name(NoticeKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"failure", "delay", "relayed", "unknown"};
  return kNames.at(static_cast<std::size_t>(kind));
}

DsnRecipient relayed_recipient(const mail::Recipient& recipient, const std::string& diagnostic,
                               const std::string& remote_mta) {
  return {recipient, "2.0.0", diagnostic, "accepted by the mail system",
          diagnostic.empty() ? "" : remote_mta};
}

bool wants_notice(std::string_view notify, NoticeKind kind) {
  if (notify.empty()) {
    return kind != NoticeKind::kRelayed;
  }
  if (wants(notify, "NEVER")) {
    return false;
  }
  constexpr std::array<std::string_view, 4> kWords = {"FAILURE", "DELAY", "SUCCESS", "FAILURE"};
  return wants(notify, kWords.at(static_cast<std::size_t>(kind)));
}

mail::Envelope dsn_envelope(const DsnRequest& request) {
  mail::Envelope envelope;
  envelope.smtputf8 = needs_smtputf8(request);
  if (envelope.smtputf8 || has_eight_bit(request.original_header) ||
      has_eight_bit(request.original_body) || has_eight_bit(human_part(request))) {
    envelope.body = "8BITMIME";
  }
  mail::Recipient recipient;
  recipient.address = request.envelope.sender;
  recipient.notify = "NEVER";
  envelope.recipients.push_back(std::move(recipient));
  return envelope;
}

Result<std::string> format_dsn(const DsnRequest& request) {
  if (request.envelope.sender.empty()) {
    return Status::permanent("5.1.7", "no notification goes to the null sender");
  }
  const bool utf8 = needs_smtputf8(request);
  const std::string boundary = boundary_for(request);
  std::string out = letter_head(request.reporting_mta, request.postmaster, request.envelope.sender,
                                words_for(request.kind).subject, request.now, request.notice_id);
  out +=
      str_cat({"Auto-Submitted: auto-replied\r\nContent-Type: multipart/report;\r\n"
               " report-type=delivery-status;\r\n boundary=\"",
               boundary, "\"\r\n\r\n"});
  const std::string human = human_part(request);
  out += part(boundary,
              has_eight_bit(human) ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
              human);
  out += part(boundary, utf8 ? "message/global-delivery-status" : "message/delivery-status",
              status_part(request));
  // As a body part UTF-8 needs no more than 8BITMIME (RFC 6532 3.7, RFC 6533 4).
  const bool global = utf8 || (request.envelope.smtputf8 && has_eight_bit(request.original_header));
  if (request.full) {
    // The header block ends with an empty line that belongs to the message.
    const std::string whole = str_cat({request.original_header, "\r\n", request.original_body});
    out += part(boundary, global ? "message/global" : "message/rfc822", whole);
  } else if (!request.original_header.empty()) {
    out += part(boundary, global ? "message/global-headers" : "text/rfc822-headers",
                request.original_header);
  }
  return out + str_cat({"--", boundary, "--\r\n"});
}

namespace {

// Octets without CRLF.
std::size_t longest_line(std::string_view text) {
  std::size_t longest = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find("\r\n", begin), text.size());
    longest = std::max(longest, end - begin);
    begin = end + 2;
  }
  return longest;
}

}  // namespace

Status take_original(Source& plain_text, std::uint64_t text_bytes, std::uint64_t cap,
                     DsnRequest& request) {
  const bool want_full = iequals(request.envelope.ret, "FULL") && text_bytes <= cap;
  const std::size_t limit = want_full ? std::size_t{text_bytes} : kMaxHeader;
  std::string text;
  std::string block(kBlockSize, '\0');
  while (text.size() < limit && (want_full || text.find("\r\n\r\n") == std::string::npos)) {
    std::size_t got = 0;
    TRY_ASSIGN(got, plain_text.read(block));
    if (got == 0) {
      break;
    }
    text.append(block, 0, got);
  }
  std::size_t end = text.starts_with("\r\n") ? 0 : text.find("\r\n\r\n");
  if (end == std::string::npos || end > kMaxHeader) {
    // No empty line within the cap: cut behind the last whole line.
    const std::size_t last = text.rfind("\r\n", kMaxHeader);
    request.original_header = last == std::string::npos ? "" : text.substr(0, last + 2);
    request.full = false;
    return Status::ok();
  }
  end = end == 0 ? 0 : end + 2;
  request.original_header = text.substr(0, end);
  // A longer line would need an encoding, which RFC 2046 5.2.1 forbids for message/rfc822.
  request.full = want_full && longest_line(text) <= kMaxLine;
  request.original_body = request.full ? text.substr(end + 2) : "";
  return Status::ok();
}

mail::Envelope letter_envelope(const PostmasterLetter& letter) {
  mail::Envelope envelope;
  if (!mail::is_ascii(letter.body)) {
    envelope.body = "8BITMIME";
  }
  mail::Recipient recipient;
  recipient.address = letter.postmaster;
  recipient.notify = "NEVER";
  envelope.recipients.push_back(std::move(recipient));
  return envelope;
}

std::string format_letter(const PostmasterLetter& letter) {
  const std::string body = crlf_lines(letter.body);
  return str_cat(
      {letter_head(letter.host, letter.postmaster, letter.postmaster,
                   printable(letter.subject, 200), letter.now, letter.notice_id),
       "Auto-Submitted: auto-generated\r\n", "Content-Type: text/plain; charset=utf-8\r\n",
       "Content-Transfer-Encoding: ", mail::is_ascii(body) ? "7bit" : "8bit", "\r\n\r\n", body});
}

}  // namespace bsmtp::mda
