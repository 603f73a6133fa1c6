#include "common/log/events.h"

#include "common/log/log.h"

namespace bsmtp::log {
namespace {

std::string str(std::string_view s) {
  return std::string(s);
}
std::string num(std::uint64_t n) {
  return std::to_string(n);
}
// The null reverse-path must be visible in a log.
std::string path(std::string_view s) {
  return "<" + std::string(s) + ">";
}

}  // namespace

void started(std::string_view program, std::string_view version) {
  emit(Level::kInfo, "-", "started", {{"program", str(program)}, {"version", str(version)}});
}
void stopped(std::string_view program, std::string_view reason) {
  emit(Level::kInfo, "-", "stopped", {{"program", str(program)}, {"reason", str(reason)}});
}
void reloaded(std::string_view program, std::string_view files) {
  emit(Level::kInfo, "-", "reloaded", {{"program", str(program)}, {"files", str(files)}});
}
void reload_failed(std::string_view program, const Status& why) {
  emit(Level::kError, "-", "reload-failed",
       {{"program", str(program)}, {"why", why.to_string()}, {"kept", "old values"}});
}
void alarm(std::string_view id, std::string_view what) {
  emit(Level::kError, id, "alarm", {{"what", str(what)}});
}
void trouble(std::string_view id, const Status& why) {
  emit(Level::kWarn, id, "trouble", {{"why", why.to_string()}});
}

void enqueued(std::string_view item, std::string_view queue_id, std::string_view peer,
              std::string_view sender, std::string_view first_recipient, std::size_t recipients,
              std::uint64_t octets) {
  emit(Level::kInfo, item, "enqueued",
       {{"qid", str(queue_id)},
        {"peer", str(peer)},
        {"from", path(sender)},
        {"to", path(first_recipient)},
        {"nrcpt", num(recipients)},
        {"size", num(octets)}});
}
void enqueue_failed(std::string_view queue_id, std::string_view peer, const Status& why) {
  emit(Level::kWarn, "-", "enqueue-failed",
       {{"qid", str(queue_id)}, {"peer", str(peer)}, {"why", why.to_string()}});
}

void parcel_built(std::string_view parcel, std::string_view peer, std::size_t messages,
                  std::uint64_t plain_octets, std::uint64_t wire_octets, std::string_view why) {
  emit(Level::kInfo, parcel, "built",
       {{"peer", str(peer)},
        {"messages", num(messages)},
        {"plain", num(plain_octets)},
        {"wire", num(wire_octets)},
        {"closed-by", str(why)}});
}
void parcel_submitted(std::string_view parcel, std::string_view peer, std::string_view reply) {
  emit(Level::kInfo, parcel, "submitted", {{"peer", str(peer)}, {"reply", str(reply)}});
}
void parcel_deferred(std::string_view parcel, std::string_view peer, const Status& why,
                     std::uint64_t retry_seconds) {
  emit(Level::kWarn, parcel, "submit-deferred",
       {{"peer", str(peer)}, {"why", why.to_string()}, {"retry-in", num(retry_seconds) + "s"}});
}
void parcel_failed(std::string_view parcel, std::string_view peer, const Status& why) {
  emit(Level::kError, parcel, "failed", {{"peer", str(peer)}, {"why", why.to_string()}});
}
void parcel_returned(std::string_view parcel, std::string_view peer, std::string_view action,
                     std::string_view status) {
  emit(Level::kWarn, parcel, "returned",
       {{"peer", str(peer)}, {"action", str(action)}, {"status", str(status)}});
}
void item_held(std::string_view item, std::string_view peer, const Status& why) {
  emit(Level::kError, item, "held", {{"peer", str(peer)}, {"why", why.to_string()}});
}
void item_expired(std::string_view item, std::string_view peer, std::string_view arrival) {
  emit(Level::kWarn, item, "expired", {{"peer", str(peer)}, {"arrived", str(arrival)}});
}
void bypassed(std::string_view item, std::string_view peer, std::size_t recipients,
              std::string_view reply) {
  emit(Level::kInfo, item, "bypassed",
       {{"peer", str(peer)}, {"recipients", std::to_string(recipients)}, {"reply", str(reply)}});
}
void dsn_withheld(std::string_view notice, std::string_view peer, std::string_view sender,
                  std::string_view why) {
  emit(Level::kWarn, notice, "dsn-withheld",
       {{"peer", str(peer)}, {"from", str(sender)}, {"why", str(why)}});
}
void parcel_acknowledged(std::string_view parcel, std::string_view peer, std::string_view key,
                         std::uint64_t after, std::uint64_t resends) {
  emit(Level::kInfo, parcel, "acknowledged",
       {{"peer", str(peer)},
        {"key", str(key)},
        {"after", num(after) + "s"},
        {"resends", num(resends)}});
}
void receipt_ignored(std::string_view parcel, std::string_view peer, std::string_view why) {
  emit(Level::kWarn, parcel, "receipt-ignored", {{"peer", str(peer)}, {"why", str(why)}});
}
void parcel_resent(std::string_view parcel, std::string_view peer, std::string_view why,
                   std::uint64_t resends) {
  emit(Level::kWarn, parcel, "resent",
       {{"peer", str(peer)}, {"why", str(why)}, {"resends", num(resends)}});
}
void parcel_unknown(std::string_view parcel, std::string_view peer, std::string_view what) {
  emit(Level::kError, parcel, "outcome-unknown",
       {{"outcome", "ambiguous"}, {"peer", str(peer)}, {"what", str(what)}});
}
void parcel_held(std::string_view parcel, std::string_view peer, std::string_view why) {
  emit(Level::kWarn, parcel, "parcel-held", {{"peer", str(peer)}, {"why", str(why)}});
}
void parcel_released(std::string_view parcel, std::string_view peer) {
  emit(Level::kWarn, parcel, "released", {{"peer", str(peer)}});
}
void parcel_split(std::string_view parcel, std::string_view peer, std::string_view into,
                  std::size_t messages, std::string_view why) {
  emit(Level::kWarn, parcel, "split",
       {{"peer", str(peer)}, {"into", str(into)}, {"messages", num(messages)}, {"why", str(why)}});
}
void ambiguous(std::string_view id, std::string_view what) {
  emit(Level::kWarn, id, "final-reply-lost", {{"outcome", "ambiguous"}, {"what", str(what)}});
}

void parcel_accepted(std::string_view parcel, std::string_view peer, std::string_view queue_id,
                     std::string_view client, std::string_view fingerprint, std::size_t messages,
                     std::uint64_t plain_octets, std::string_view tls, std::string_view verify) {
  emit(Level::kInfo, parcel, "accepted",
       {{"qid", str(queue_id)},
        {"peer", str(peer)},
        {"client", str(client)},
        {"key", str(fingerprint)},
        {"messages", num(messages)},
        {"plain", num(plain_octets)},
        {"tls", str(tls)},
        {"verify", str(verify)}});
}
void parcel_duplicate(std::string_view parcel, std::string_view peer, std::string_view queue_id) {
  emit(Level::kInfo, parcel, "duplicate", {{"qid", str(queue_id)}, {"peer", str(peer)}});
}
void parcel_quarantined(std::string_view quarantine_id, std::string_view queue_id,
                        std::string_view client, std::string_view reason, std::string_view tls,
                        std::string_view verify) {
  emit(Level::kWarn, quarantine_id, "quarantined",
       {{"qid", str(queue_id)},
        {"client", str(client)},
        {"reason", str(reason)},
        {"tls", str(tls)},
        {"verify", str(verify)}});
}
void parcel_dropped(std::string_view queue_id, std::string_view client, std::string_view reason) {
  emit(Level::kWarn, "-", "dropped",
       {{"qid", str(queue_id)}, {"client", str(client)}, {"reason", str(reason)}});
}
void parcel_refused(std::string_view queue_id, const Status& why) {
  emit(Level::kWarn, "-", "refused", {{"qid", str(queue_id)}, {"why", why.to_string()}});
}
void sandbox_incomplete(std::string_view missing) {
  emit(Level::kWarn, "bsmtp-in", "sandbox", {{"missing", str(missing)}});
}
void return_stored(std::string_view id, std::string_view queue_id, std::string_view recipient) {
  emit(Level::kInfo, id, "return-stored", {{"qid", str(queue_id)}, {"to", path(recipient)}});
}
void receipt_received(std::string_view id, std::string_view peer, std::string_view queue_id,
                      std::string_view client, std::string_view fingerprint, std::size_t parcels) {
  emit(Level::kInfo, id, "receipt-received",
       {{"qid", str(queue_id)},
        {"peer", str(peer)},
        {"client", str(client)},
        {"key", str(fingerprint)},
        {"parcels", num(parcels)}});
}
void parcel_asked(std::string_view parcel, std::string_view peer, std::string_view queue_id,
                  std::string_view state, std::string_view code) {
  emit(Level::kInfo, parcel, "asked",
       {{"qid", str(queue_id)}, {"peer", str(peer)}, {"state", str(state)}, {"code", str(code)}});
}

void delivered(std::string_view parcel, std::string_view peer, std::size_t index,
               std::string_view recipient, std::string_view reply) {
  emit(
      Level::kInfo, parcel, "delivered",
      {{"index", num(index)}, {"peer", str(peer)}, {"to", path(recipient)}, {"reply", str(reply)}});
}
void delivery_deferred(std::string_view parcel, std::string_view peer, std::size_t index,
                       std::string_view recipient, const Status& why) {
  emit(Level::kInfo, parcel, "deferred",
       {{"index", num(index)},
        {"peer", str(peer)},
        {"to", path(recipient)},
        {"why", why.to_string()}});
}
void delivery_failed(std::string_view parcel, std::string_view peer, std::size_t index,
                     std::string_view recipient, const Status& why) {
  emit(Level::kWarn, parcel, "undeliverable",
       {{"index", num(index)},
        {"peer", str(peer)},
        {"to", path(recipient)},
        {"why", why.to_string()}});
}
void message_duplicate(std::string_view parcel, std::string_view peer, std::size_t index,
                       std::string_view recipient) {
  emit(Level::kInfo, parcel, "message-duplicate",
       {{"index", num(index)}, {"peer", str(peer)}, {"to", path(recipient)}});
}
void notice_written(std::string_view notice, std::string_view kind, std::string_view recipient,
                    std::string_view about) {
  emit(Level::kInfo, notice, "notice",
       {{"kind", str(kind)}, {"to", path(recipient)}, {"about", str(about)}});
}
void notice_sent(std::string_view notice, std::string_view reply) {
  emit(Level::kInfo, notice, "notice-sent", {{"reply", str(reply)}});
}
void receipt_written(std::string_view notice, std::string_view peer, std::string_view to,
                     std::size_t parcels) {
  emit(Level::kInfo, notice, "receipt-written",
       {{"peer", str(peer)}, {"to", path(to)}, {"parcels", num(parcels)}});
}
void parcel_answered(std::string_view parcel, std::string_view peer, std::string_view notice,
                     std::string_view state, std::string_view code) {
  emit(Level::kInfo, parcel, "answered",
       {{"peer", str(peer)}, {"notice", str(notice)}, {"state", str(state)}, {"code", str(code)}});
}
void parcel_tombstoned(std::string_view parcel, std::string_view peer, std::string_view state,
                       std::string_view why) {
  emit(Level::kWarn, parcel, "tombstoned",
       {{"peer", str(peer)}, {"state", str(state)}, {"why", str(why)}});
}

void diverted(std::string_view queue_id, std::string_view original, std::string_view to) {
  emit(Level::kInfo, queue_id, "diverted", {{"orig-to", path(original)}, {"to", path(to)}});
}
void left_to_map(std::string_view queue_id, std::string_view recipient, std::string_view why) {
  emit(Level::kInfo, queue_id, "left-to-map", {{"to", path(recipient)}, {"why", str(why)}});
}
void diverted_more(std::string_view queue_id, std::size_t recipients) {
  emit(Level::kInfo, queue_id, "diverted-more", {{"recipients", num(recipients)}});
}

}  // namespace bsmtp::log
