// The log contract: one function per mail event, so that a line cannot drift from its
// documentation in docs/operations.md (a lint test compares the two). The id comes first;
// hand-over lines name both ids: MTA queue id -> item -> parcel -> index -> remote reply.
// At most three info lines per message on each host. May not: log content or keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp::log {

// --- any program -------------------------------------------------------------------------------
void started(std::string_view program, std::string_view version);
void stopped(std::string_view program, std::string_view reason);
void reloaded(std::string_view program, std::string_view files);
// The old values stay in force.
void reload_failed(std::string_view program, const Status& why);
// Something an admin must act on; `what` says what is wrong and what to do.
void alarm(std::string_view id, std::string_view what);
// Unexpected trouble that is retried by itself.
void trouble(std::string_view id, const Status& why);

// --- bsmtp-out ---------------------------------------------------------------------------------
void enqueued(std::string_view item, std::string_view queue_id, std::string_view peer,
              std::string_view sender, std::string_view first_recipient, std::size_t recipients,
              std::uint64_t octets);
void enqueue_failed(std::string_view queue_id, std::string_view peer, const Status& why);

// --- bsmtp-dispatch, outbound ------------------------------------------------------------------
void parcel_built(std::string_view parcel, std::string_view peer, std::size_t messages,
                  std::uint64_t plain_octets, std::uint64_t wire_octets, std::string_view why);
void parcel_submitted(std::string_view parcel, std::string_view peer, std::string_view reply);
void parcel_deferred(std::string_view parcel, std::string_view peer, const Status& why,
                     std::uint64_t retry_seconds);
void parcel_failed(std::string_view parcel, std::string_view peer, const Status& why);
void parcel_returned(std::string_view parcel, std::string_view peer, std::string_view action,
                     std::string_view status);
void item_held(std::string_view item, std::string_view peer, const Status& why);
// It waited longer than it may; its sender is told.
void item_expired(std::string_view item, std::string_view peer, std::string_view arrival);
// `bsmtpctl peer bypass`: the host MTA has taken this item itself for so many recipients.
void bypassed(std::string_view item, std::string_view peer, std::size_t recipients,
              std::string_view reply);
// No DSN for this sender: dsn-for leaves it out, or dsn-limit is reached. The postmaster's digest
// names it.
void dsn_withheld(std::string_view notice, std::string_view peer, std::string_view sender,
                  std::string_view why);
// The peer's signed receipt: the parcel is over. `after`: seconds since the host MTA took it.
void parcel_acknowledged(std::string_view parcel, std::string_view peer, std::string_view key,
                         std::uint64_t after, std::uint64_t resends);
// A receipt, or one of its lines, that changes nothing.
void receipt_ignored(std::string_view parcel, std::string_view peer, std::string_view why);
// It goes to the host MTA once more; `why`: no-receipt, last-question, bounced, asked-for.
void parcel_resent(std::string_view parcel, std::string_view peer, std::string_view why,
                   std::uint64_t resends);
// No answer: its senders are told that the outcome is unknown.
void parcel_unknown(std::string_view parcel, std::string_view peer, std::string_view what);
// It stays in sent/ until a human decides.
void parcel_held(std::string_view parcel, std::string_view peer, std::string_view why);
// A human decided that it is over; nobody is told.
void parcel_released(std::string_view parcel, std::string_view peer);
// Its messages went into another parcel, smaller than it.
void parcel_split(std::string_view parcel, std::string_view peer, std::string_view into,
                  std::size_t messages, std::string_view why);
// A final reply was lost: the mail may have been taken or not (RFC 1047).
void ambiguous(std::string_view id, std::string_view what);

// --- bsmtp-in ----------------------------------------------------------------------------------
// `tls` and `verify` are what the host MTA wrote about the session the parcel came by.
void parcel_accepted(std::string_view parcel, std::string_view peer, std::string_view queue_id,
                     std::string_view client, std::string_view fingerprint, std::size_t messages,
                     std::uint64_t plain_octets, std::string_view tls, std::string_view verify);
void parcel_duplicate(std::string_view parcel, std::string_view peer, std::string_view queue_id);
void parcel_quarantined(std::string_view quarantine_id, std::string_view queue_id,
                        std::string_view client, std::string_view reason, std::string_view tls,
                        std::string_view verify);
void parcel_dropped(std::string_view queue_id, std::string_view client, std::string_view reason);
void parcel_refused(std::string_view queue_id, const Status& why);
// `missing`: the walls that the kernel lacks for the child that parses parcels.
void sandbox_incomplete(std::string_view missing);
void return_stored(std::string_view id, std::string_view queue_id, std::string_view recipient);
// A peer's receipt for our parcels, kept for the dispatcher under `id`.
void receipt_received(std::string_view id, std::string_view peer, std::string_view queue_id,
                      std::string_view client, std::string_view fingerprint, std::size_t parcels);
// A peer's parcel that is here already or was refused for good, and is to be answered so.
void parcel_asked(std::string_view parcel, std::string_view peer, std::string_view queue_id,
                  std::string_view state, std::string_view code);

// --- bsmtp-dispatch, delivery ------------------------------------------------------------------
void delivered(std::string_view parcel, std::string_view peer, std::size_t index,
               std::string_view recipient, std::string_view reply);
void delivery_deferred(std::string_view parcel, std::string_view peer, std::size_t index,
                       std::string_view recipient, const Status& why);
void delivery_failed(std::string_view parcel, std::string_view peer, std::size_t index,
                     std::string_view recipient, const Status& why);
void message_duplicate(std::string_view parcel, std::string_view peer, std::size_t index,
                       std::string_view recipient);
void notice_written(std::string_view notice, std::string_view kind, std::string_view recipient,
                    std::string_view about);
void notice_sent(std::string_view notice, std::string_view reply);
// A receipt was written (its notice is sent like any other), and what it says of each parcel.
void receipt_written(std::string_view notice, std::string_view peer, std::string_view to,
                     std::size_t parcels);
void parcel_answered(std::string_view parcel, std::string_view peer, std::string_view notice,
                     std::string_view state, std::string_view code);
// The peer is told that this parcel is not delivered, so it never is.
void parcel_tombstoned(std::string_view parcel, std::string_view peer, std::string_view state,
                       std::string_view why);

// --- bsmtp-milter ------------------------------------------------------------------------------
void diverted(std::string_view queue_id, std::string_view original, std::string_view to);
void left_to_map(std::string_view queue_id, std::string_view recipient, std::string_view why);
// Further recipients of the same message, whose lines are left out.
void diverted_more(std::string_view queue_id, std::size_t recipients);

}  // namespace bsmtp::log
