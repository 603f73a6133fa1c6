// See parcel_state.h.
#include "mda/dispatch/parcel_state.h"

namespace bsmtp::mda {
namespace {

void set_or_erase(spool::Fields& fields, std::string_view key, std::string_view value) {
  if (value.empty()) {
    fields.erase(key);
  } else {
    fields.set(key, value);
  }
}

void set_or_erase(spool::Fields& fields, std::string_view key, TimePoint when) {
  if (when == TimePoint()) {
    fields.erase(key);
  } else {
    fields.set_time(key, when);
  }
}

}  // namespace

ParcelState ParcelState::from(const spool::Fields& fields) {
  ParcelState state;
  state.token = fields.get("token");
  state.created = fields.get_time("created").value_or(TimePoint());
  state.expires = fields.get_time("expires").value_or(TimePoint());
  state.oldest = fields.get_time("oldest").value_or(state.created);
  state.messages = fields.get_number("messages");
  state.plain_octets = fields.get_number("plain-octets");
  state.entity_octets = fields.get_number("entity-octets");
  state.entity_digest = fields.get("entity-digest");
  state.digest = fields.get("digest");
  state.attempts = fields.get_number("attempts");
  state.next = fields.get_time("next").value_or(TimePoint());
  state.submitting = fields.has("submitting");
  state.in_doubt = fields.has("in-doubt");
  state.earlier_copy = fields.has("earlier-copy");
  state.failing = fields.get("failing");
  state.failing_reason = fields.get("failing-reason");
  state.failing_word = {fields.get("failing-diagnostic"), fields.get("failing-diagnostic-type"),
                        fields.get("failing-remote-mta")};
  state.failing_unknown = fields.has("failing-unknown");
  state.receipt = fields.get_number("receipt");
  state.handed = fields.get_time("handed").value_or(TimePoint());
  state.resends = fields.get_number("resends");
  state.asked = fields.get_time("asked").value_or(TimePoint());
  state.bounced = fields.get_time("bounced").value_or(TimePoint());
  state.bounces = fields.get_number("bounces");
  state.refused = fields.get("refused");
  state.held = fields.get("held");
  state.splitting = fields.get("splitting");
  state.split_at = fields.get("split-at");
  state.finished = fields.get_time("finished").value_or(TimePoint());
  state.answer = fields.get("answer");
  state.fields = fields;
  return state;
}

spool::Fields ParcelState::to_fields() const {
  spool::Fields out = fields;
  out.set("token", token);
  set_or_erase(out, "created", created);
  set_or_erase(out, "expires", expires);
  set_or_erase(out, "oldest", oldest);
  out.set_number("messages", messages);
  out.set_number("plain-octets", plain_octets);
  out.set_number("entity-octets", entity_octets);
  set_or_erase(out, "entity-digest", entity_digest);
  out.set("digest", digest);
  out.set_number("attempts", attempts);
  set_or_erase(out, "next", next);
  set_or_erase(out, "finished", finished);
  set_or_erase(out, "submitting", submitting ? "yes" : "");
  set_or_erase(out, "in-doubt", in_doubt ? "yes" : "");
  set_or_erase(out, "earlier-copy", earlier_copy ? "yes" : "");
  set_or_erase(out, "failing", failing);
  set_or_erase(out, "failing-reason", failing_reason);
  set_or_erase(out, "failing-diagnostic", failing_word.text);
  set_or_erase(out, "failing-diagnostic-type", failing_word.type);
  set_or_erase(out, "failing-remote-mta", failing_word.mta);
  set_or_erase(out, "failing-unknown", failing_unknown ? "yes" : "");
  set_or_erase(out, "answer", answer);
  set_or_erase(out, "receipt", receipt == 0 ? "" : std::to_string(receipt));
  set_or_erase(out, "handed", handed);
  set_or_erase(out, "resends", resends == 0 ? "" : std::to_string(resends));
  set_or_erase(out, "asked", asked);
  set_or_erase(out, "bounced", bounced);
  set_or_erase(out, "bounces", bounces == 0 ? "" : std::to_string(bounces));
  set_or_erase(out, "refused", refused);
  set_or_erase(out, "held", held);
  set_or_erase(out, "splitting", splitting);
  set_or_erase(out, "split-at", split_at);
  return out;
}

}  // namespace bsmtp::mda
