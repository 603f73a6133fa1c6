// ParcelState: what the file `state` of an outbound parcel holds, typed. docs/spool.md has the
// table of keys. Written when the parcel is built and before and after each submission.
// Unknown keys are kept (spool::Fields). Threads: a value.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/spool/fields.h"

namespace bsmtp::mda {

// What a host said about a refusal, as it goes into a DSN: "" where nothing was said.
struct RemoteWord {
  std::string text;
  std::string type;  // DsnRecipient::diagnostic_type
  std::string mta;   // host name of who said it
};

struct ParcelState {
  std::string token;  // of the return address <user>+<token>@<host>
  TimePoint created{};
  TimePoint expires{};
  TimePoint oldest{};  // arrival of its oldest item
  std::uint64_t messages = 0;
  std::uint64_t plain_octets = 0;
  std::uint64_t entity_octets = 0;
  std::string entity_digest;  // of all its octets, as it was built; "" in parcels of earlier builds
  std::string digest;         // of the signed octets
  std::uint64_t attempts = 0;  // failed submissions
  TimePoint next{};            // not to be submitted before
  bool submitting = false;     // a submission was begun and its end is not known
  bool in_doubt = false;       // an earlier one may have been taken, though no answer said so
  // Its messages were in a parcel that was split, and a copy of that one may have arrived. Said of
  // a part; of a parcel that is being split, for its parts.
  bool earlier_copy = false;
  // The status code with which it fails, noted before the first sender is told: from then on it
  // is not submitted any more, or senders could be told of a failure that is none.
  std::string failing;
  std::string failing_reason;
  RemoteWord failing_word;       // of the host MTA, the bounce or the receipt
  bool failing_unknown = false;  // nobody can say whether it arrived: the senders are told that
  // Receipts (peers that send them).
  std::uint64_t receipt = 0;  // asked for in the manifest: 0 no, 1 yes, 2 at once
  TimePoint handed{};         // when the host MTA last took it, or may have
  std::uint64_t resends = 0;  // because no receipt came
  TimePoint asked{};          // the last question, after it had expired
  TimePoint bounced{};        // the copy handed over last came back; `next` is the next one's time
  std::uint64_t bounces = 0;
  // A bounce said that its only copy, of a single message, was refused with this status for what it
  // is; `failing_reason` and `failing_word` say more. Unless a receipt comes that will be told.
  std::string refused;
  std::string held;  // why it waits for a human; senders are not told
  // Refused as a whole with this status: its messages go into smaller parcels, those before
  // `split_at` into the first. From then on it is not submitted any more.
  std::string splitting;
  std::string split_at;
  TimePoint finished{};  // when it was sent or failed; keep-sent runs from here
  std::string answer;    // last reply or reason
  spool::Fields fields;  // as read, for the keys of other releases

  static ParcelState from(const spool::Fields& fields);
  spool::Fields to_fields() const;
};

}  // namespace bsmtp::mda
