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
  bool doubted = false;         // may have arrived: the final reply of an attempt was lost
  bool told = false;            // failed, and the report about it exists
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
// delivery leaves those open, and in doubt, who were not refused before the text.
void apply_delivery(const smtp::Delivery& delivery, TimePoint now, const ExpiryRule& rule,
                    std::vector<RecipientState>& states);
// No connection at all: everything untried is open, or failed when expired.
void apply_no_connection(const Status& why, TimePoint now, const ExpiryRule& rule,
                         std::vector<RecipientState>& states);
bool all_final(const std::vector<RecipientState>& states);
bool wants_retry_now(const std::vector<RecipientState>& states);

// Failed recipients that nobody has been told about, in at most two DSNs: those that surely did
// not get the message, and those that may have (kUnknown). The notice's id holds the group, whose
// members may be answered otherwise when a crash repeats the attempt: the ledger must know them as
// kRefused before the notice is written.
struct FailureGroup {
  NoticeKind kind = NoticeKind::kFailure;
  std::vector<DsnRecipient> recipients;
};
std::vector<FailureGroup> failure_groups(const std::vector<RecipientState>& states,
                                         const std::string& remote);
std::vector<DsnRecipient> relayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote);
std::vector<DsnRecipient> delayed_recipients(const std::vector<RecipientState>& states,
                                             const std::string& remote);

}  // namespace bsmtp::mda
