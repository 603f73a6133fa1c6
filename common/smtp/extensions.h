// What an SMTP server announced, and what that means for an envelope: whether it can be sent at
// all and which of its parameters may be. Threads: pure functions, values.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/status.h"
#include "common/mail/envelope.h"
#include "common/smtp/reply.h"

namespace bsmtp::smtp {

struct Extensions {
  bool pipelining = false;
  bool eightbit = false;
  bool dsn = false;
  bool smtputf8 = false;
  bool size = false;
  std::uint64_t max_size = 0;  // 0 = none announced
};

// From a positive reply to EHLO.
Extensions parse_extensions(const Reply& reply);

// Not ok when the server cannot take the message: temporary 4.6.3 without 8BITMIME (trouble of
// the host MTA, which is ours); permanent 5.6.7 without SMTPUTF8, 5.3.4 over its SIZE, 5.5.4 for a
// parameter that no supported extension defines (dropping one, say REQUIRETLS, would break its
// promise). `peer` is for the text.
Status check_announced(const mail::Envelope& envelope, const Extensions& extensions,
                       std::string_view peer);

// The envelope without the parameters that the server did not announce.
mail::Envelope announced_only(const mail::Envelope& envelope, const Extensions& extensions);

}  // namespace bsmtp::smtp
