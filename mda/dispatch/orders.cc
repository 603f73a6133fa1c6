// See orders.h.
#include "mda/dispatch/orders.h"

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/spool/order.h"
#include "mda/dispatch/sent_job.h"

namespace bsmtp::mda {
namespace {

// May the peer have it? Then nobody can be told that it failed.
bool left_once(const FoundParcel& found) {
  return found.dir.stage() == spool::Stage::kSent || found.state.handed != TimePoint() ||
         found.state.submitting || found.state.in_doubt;
}

Status resend(SubmitContext& context, FoundParcel& found) {
  if (found.dir.stage() == spool::Stage::kSent) {
    if (context.clock.now() >= found.state.expires) {
      found.state.asked = context.clock.now();  // waits for the answer as long as usual
    }
    return resend_parcel(found.dir, found.state, "asked-for", false);
  }
  found.state.next = TimePoint();
  return found.dir.write_state(found.state.to_fields());
}

Status fail(SubmitContext& context, FoundParcel& found) {
  const bool unknown = left_once(found) || found.state.earlier_copy;
  found.state.failing_unknown = unknown;
  return fail_parcel(
      context, found.dir, found.state,
      unknown ? Status::temporary("4.4.0",
                                  "no confirmation came, and the sending gateway's "
                                  "administrator gave it up")
              : Status::permanent("5.3.0",
                                  "the sending gateway's administrator gave it up before "
                                  "it was sent"),
      {});
}

Status carry_out(SubmitContext& context, FoundParcel& found, spool::OrderKind kind) {
  switch (kind) {
    case spool::OrderKind::kResend:
      return resend(context, found);
    case spool::OrderKind::kRelease:
      log::parcel_released(found.dir.id(), found.dir.peer());
      return found.dir.remove();
    case spool::OrderKind::kFail:
      return fail(context, found);
  }
  return Status::ok();
}

// Why it cannot be done any more, "" when it can.
std::string misfit(const std::optional<FoundParcel>& found, const spool::Order& order) {
  if (!order.kind) {
    return "the file names no order";
  }
  if (!found) {
    return "no such parcel waits";
  }
  if (found->dir.stage() == spool::Stage::kFailed || !found->state.failing.empty()) {
    return "its senders were told already";
  }
  if (!found->state.splitting.empty()) {
    return "its messages are on their way into smaller parcels";
  }
  if (*order.kind == spool::OrderKind::kRelease && !left_once(*found)) {
    return "it was never handed to the host MTA; `fail` gives it up";
  }
  return "";
}

Status handle_order(SubmitContext& context, const std::string& peer, const spool::Order& order,
                    TouchedParcels& touched) {
  std::optional<FoundParcel> found;
  TRY_ASSIGN(found, find_by_id(context.spool, peer, order.parcel_id));
  const std::string why_not = misfit(found, order);
  if (why_not.empty()) {
    TRY(carry_out(context, *found, *order.kind));
    touched.emplace(peer, order.parcel_id);
  } else {
    log::trouble(order.parcel_id,
                 Status::temporary(
                     "4.3.0", str_cat({"the order of an admin is not carried out: ", why_not})));
  }
  return spool::remove_order(context.spool, peer, order.parcel_id);
}

}  // namespace

Status handle_orders(SubmitContext& context, const std::vector<std::string>& peers,
                     TouchedParcels& touched) {
  Status first;
  for (const std::string& peer : peers) {
    std::vector<spool::Order> orders;
    TRY_ASSIGN(orders, spool::list_orders(context.spool, peer));
    for (const spool::Order& order : orders) {
      const Status status = handle_order(context, peer, order, touched);
      if (!status.is_ok()) {
        log::trouble(order.parcel_id, status);
        first = first.is_ok() ? status : first;
      }
    }
  }
  return first;
}

}  // namespace bsmtp::mda
