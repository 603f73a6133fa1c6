// What became of one message after one attempt, recipient by recipient: pure decisions between
// the SMTP client's results and ledger, notices and log. A recipient is delivered, failed (DSN),
// known (an earlier parcel or attempt settled it) or open (to be tried again).
// May not: send or store. Threads: values, pure functions.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/mail/envelope.h"
#include "common/smtp/client.h"
#include "common/spool/accepted.h"
#include "mda/notice/dsn.h"

namespace bsmtp::mda {

enum class Fate { kUntried, kKnown, kDelivered, kFailed, kOpen };

struct RecipientState {
  mail::Recipient recipient;
  std::string key;  // ledger
  Fate fate = Fate::kUntried;
  Status status;           // why failed or open
  std::string diagnostic;  // the server's reply line, "" when it gave none
  smtp::Stage stage = smtp::Stage::kLocal;
  bool relayed_notice = false;  // NOTIFY=SUCCESS asked and the host MTA cannot report it
  bool again = false;           // "too many recipients": in another transaction at once
};

struct ExpiryRule {
  TimePoint expires{};  // a recipient still open then is failed
  std::string remote;   // who answered, for the DSN: our own host's MTA
};

// States in envelope order, meta's refusals applied as kFailed.
std::vector<RecipientState> plan_recipients(const mail::Envelope& envelope,
                                            const spool::AcceptedMessage& message);
// The envelope of the transaction: only kUntried recipients.
mail::Envelope remaining_envelope(const mail::Envelope& envelope,
                                  const std::vector<RecipientState>& states);
// Takes the results (in the order of remaining_envelope) over into the states. An ambiguous
// delivery leaves its recipients open.
void apply_delivery(const smtp::Delivery& delivery, TimePoint now, const ExpiryRule& rule,
                    std::vector<RecipientState>& states);
// No connection at all: everything untried is open, or failed when expired.
void apply_no_connection(const Status& why, TimePoint now, const ExpiryRule& rule,
                         std::vector<RecipientState>& states);
bool all_final(const std::vector<RecipientState>& states);
bool wants_retry_now(const std::vector<RecipientState>& states);

// Failed recipients grouped into DSNs: those that failed together (refused by us, or with the
// sender or the text) share one; one refused at RCPT has its own, because its neighbours may be
// answered otherwise when a crash repeats the attempt, and the notice's id holds the group.
std::vector<std::vector<DsnRecipient>> failure_groups(const std::vector<RecipientState>& states,
                                                      const std::string& remote);
std::vector<DsnRecipient> relayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote);
std::vector<DsnRecipient> delayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote);

}  // namespace bsmtp::mda
