#include "common/bsmtp/extensions.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::batch {
namespace {

constexpr std::string_view kDefault = "8bitMIME,SIZE,NOTARY";
constexpr std::size_t kMaxKeywords = 32;
constexpr std::size_t kMaxKeyword = 64;

// What every RFC 2442 processor has; DSN is the EHLO keyword of what the RFC calls NOTARY.
constexpr std::string_view kAlways[] = {"8BITMIME", "SIZE", "NOTARY", "DSN"};
// Extensions of the dialogue that a frozen dialogue cannot use (RFC 2442 3): no reason to refuse.
constexpr std::string_view kMeaningless[] = {
    "PIPELINING", "ENHANCEDSTATUSCODES", "HELP", "EXPN", "VRFY", "ETRN", "VERB", "STARTTLS"};

bool contains(const auto& list, std::string_view keyword) {
  return std::any_of(std::begin(list), std::end(list),
                     [&](std::string_view known) { return iequals(known, keyword); });
}

bool is_keyword(std::string_view text) {
  return !text.empty() && text.size() <= kMaxKeyword &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ||
                  c == '-';
         });
}

bool has_utf8(const mail::Envelope& envelope) {
  return !mail::is_ascii(envelope.sender) ||
         std::any_of(envelope.recipients.begin(), envelope.recipients.end(),
                     [](const mail::Recipient& recipient) {
                       return !mail::is_ascii(recipient.address) ||
                              !mail::is_ascii(recipient.orcpt);
                     });
}

Status not_agreed(const std::vector<mail::Param>& params) {
  if (params.empty()) return Status::ok();
  return Status::permanent("5.5.4", str_cat({"parameter ", printable(params[0].keyword, 64),
                                             " belongs to an extension that is not agreed with "
                                             "this peer"}));
}

}  // namespace

Status Requirements::add(const mail::Envelope& envelope, const Agreement& agreement) {
  if (envelope.smtputf8 && !agreement.smtputf8) {
    return Status::permanent("5.6.7", "SMTPUTF8 is not agreed with this peer");
  }
  if (!envelope.smtputf8 && has_utf8(envelope)) {
    return Status::permanent("5.6.7", "an address beyond ASCII in a message without SMTPUTF8");
  }
  TRY(not_agreed(envelope.other));
  for (const mail::Recipient& recipient : envelope.recipients) {
    TRY(not_agreed(recipient.other));
  }
  smtputf8_ = smtputf8_ || envelope.smtputf8;
  return Status::ok();
}

std::string Requirements::value() const {
  return std::string(kDefault) + (smtputf8_ ? ",SMTPUTF8" : "");
}

Result<std::vector<std::string>> parse_required_extensions(std::string_view value) {
  std::vector<std::string> keywords;
  for (const std::string_view field : split(value, ',')) {
    const std::string_view keyword = trim(field);
    if (!is_keyword(keyword) || keywords.size() == kMaxKeywords) {
      return Status::permanent("5.6.0", "malformed required-extensions: " + printable(value, 200));
    }
    keywords.emplace_back(keyword);
  }
  return keywords;
}

Status check_required_extensions(const std::vector<std::string>& keywords,
                                 const Agreement& agreement) {
  for (const std::string& keyword : keywords) {
    const bool agreed = agreement.smtputf8 && iequals(keyword, "SMTPUTF8");
    if (!agreed && !contains(kAlways, keyword) && !contains(kMeaningless, keyword)) {
      return Status::permanent("5.6.0", "the batch requires extension " + printable(keyword, 64) +
                                            ", which is not supported here");
    }
  }
  return Status::ok();
}

}  // namespace bsmtp::batch
