// The EHLO keywords that matter inside a batch: the required-extensions parameter of RFC 2442
// and which keywords an envelope makes use of. A peer profile names the keywords agreed beyond
// the three that every processor has (8bitMIME, SIZE, NOTARY). Threads: pure functions, values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/mail/envelope.h"

namespace bsmtp::batch {

// Keywords beyond 8bitMIME, SIZE and NOTARY that both sides have agreed on. SMTPUTF8 is the only
// one this version can use.
struct Agreement {
  bool smtputf8 = false;
};

// Set of keywords used by the messages of one batch.
class Requirements {
 public:
  // Counts in what `envelope` uses. Refuses, permanent, what is not agreed: SMTPUTF8 or an
  // address beyond ASCII 5.6.7, a parameter of another extension 5.5.4; then nothing is counted.
  Status add(const mail::Envelope& envelope, const Agreement& agreement);
  // True when the parameter may be left out: nothing beyond RFC 2442's default is used.
  bool is_default() const { return !smtputf8_; }
  // "8bitMIME,SIZE,NOTARY[,SMTPUTF8]", without quotes.
  std::string value() const;

 private:
  bool smtputf8_ = false;
};

// Keywords of a parameter value, blanks around them dropped; at most 32 of at most 64 octets of
// letters, digits and '-', else permanent 5.6.0.
Result<std::vector<std::string>> parse_required_extensions(std::string_view value);
// Ok when all keywords are known or without meaning in a batch (PIPELINING and the like, DSN as
// another name of NOTARY); else permanent 5.6.0 that names the first unsupported keyword. Nothing
// of the batch may be executed then; the postmaster decides (RFC 2442 4).
Status check_required_extensions(const std::vector<std::string>& keywords,
                                 const Agreement& agreement);

}  // namespace bsmtp::batch
