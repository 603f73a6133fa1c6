#include "common/smtp/extensions.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::smtp {

Extensions parse_extensions(const Reply& reply) {
  Extensions out;
  for (std::size_t i = 1; i < reply.lines.size(); ++i) {
    const auto words = split_blank(reply.lines[i]);
    if (words.empty()) continue;
    const std::string keyword = to_upper(words[0]);
    if (keyword == "PIPELINING") {
      out.pipelining = true;
    } else if (keyword == "8BITMIME") {
      out.eightbit = true;
    } else if (keyword == "DSN") {
      out.dsn = true;
    } else if (keyword == "SMTPUTF8") {
      out.smtputf8 = true;
    } else if (keyword == "SIZE") {
      out.size = true;
      out.max_size = words.size() > 1 ? parse_u64(words[1]).value_or(0) : 0;
    }
  }
  return out;
}

Status check_announced(const mail::Envelope& envelope, const Extensions& extensions,
                       std::string_view peer) {
  if (envelope.body == "8BITMIME" && !extensions.eightbit) {
    // Everything that came through a pipe is labelled so. A host MTA of ours without it is a slip
    // of its admin (or answers EHLO with an error), which must not bounce every message.
    return Status::temporary("4.6.3", str_cat({peer,
                                               " does not offer 8BITMIME; let it announce that "
                                               "(Postfix: smtpd_discard_ehlo_keywords)"}));
  }
  const bool utf8_address =
      !mail::is_ascii(envelope.sender) ||
      std::any_of(envelope.recipients.begin(), envelope.recipients.end(),
                  [](const mail::Recipient& r) { return !mail::is_ascii(r.address); });
  if ((envelope.smtputf8 || utf8_address) && !extensions.smtputf8) {
    return Status::permanent("5.6.7", str_cat({peer, " does not offer SMTPUTF8"}));
  }
  if (envelope.size && extensions.max_size != 0 && *envelope.size > extensions.max_size) {
    return Status::permanent(
        "5.3.4", str_cat({"a message of ", std::to_string(*envelope.size), " octets; ", peer,
                          " takes ", std::to_string(extensions.max_size)}));
  }
  const bool other = !envelope.other.empty() ||
                     std::any_of(envelope.recipients.begin(), envelope.recipients.end(),
                                 [](const mail::Recipient& r) { return !r.other.empty(); });
  if (other) {
    return Status::permanent("5.5.4", "a parameter of an extension that is not supported here");
  }
  return Status::ok();
}

mail::Envelope announced_only(const mail::Envelope& envelope, const Extensions& extensions) {
  mail::Envelope out = envelope;
  out.smtputf8 = out.smtputf8 && extensions.smtputf8;
  if (!extensions.size) {
    out.size.reset();
  }
  if (!extensions.eightbit) {
    out.body.clear();
  }
  if (!extensions.dsn) {
    out.ret.clear();
    out.envid.clear();
    for (mail::Recipient& recipient : out.recipients) {
      recipient.notify.clear();
      recipient.orcpt.clear();
    }
  }
  return out;
}

}  // namespace bsmtp::smtp
