// bsmtpctl parcel resend|release|fail and clock accept: what an admin decides and the dispatcher
// carries out (common/spool/order.h), at once when it runs, else when it starts.
#include <algorithm>

#include "common/base/text.h"
#include "common/spool/heartbeat.h"
#include "common/spool/order.h"
#include "common/spool/parcel_dir.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

struct Waiting {
  std::string peer;
  std::string id;
  spool::Stage stage;
};

Result<Waiting> find_waiting(const spool::Spool& spool, const std::string& word) {
  std::vector<Waiting> found;
  TRY_ASSIGN(const auto peers, spool.peers());
  for (const std::string& peer : peers) {
    for (const spool::Stage stage : {spool::Stage::kReady, spool::Stage::kSent}) {
      TRY_ASSIGN(const auto ids, spool.list_parcels(peer, stage));
      for (const std::string& id : ids) {
        if (begins_with(id, word)) {
          found.push_back({peer, id, stage});
        }
      }
    }
  }
  if (found.empty()) {
    return Status::permanent("5.1.1", str_cat({"no parcel ", printable(word, 60),
                                               " waits in ready or sent; `bsmtpctl parcel list` "
                                               "shows all"}));
  }
  if (found.size() > 1) {
    return ambiguous_id(word);
  }
  return found.front();
}

Result<int> order(Context& context, const Arguments& arguments, spool::OrderKind kind,
                  std::string_view effect) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const Waiting parcel, find_waiting(spool, arguments.word(0)));
  if (kind == spool::OrderKind::kRelease && parcel.stage != spool::Stage::kSent) {
    return Status::permanent(
        "5.5.4", str_cat({"parcel ", parcel.id, " is not in sent: it cannot have arrived yet"}));
  }
  TRY(spool::write_order(spool, parcel.peer, parcel.id, kind));
  if (context.json) {
    context.out << Json()
                       .object()
                       .field("id", parcel.id)
                       .field("peer", parcel.peer)
                       .field("ordered", spool::order_name(kind))
                       .end()
                       .text();
  } else {
    context.out << "parcel " << parcel.id << ": " << effect
                << ", at once if bsmtp-dispatch runs, else when it starts\n";
  }
  return kExitOk;
}

}  // namespace

Result<int> parcel_resend(Context& context, const Arguments& arguments) {
  return order(context, arguments, spool::OrderKind::kResend, "is handed to the host MTA again");
}

Result<int> parcel_release(Context& context, const Arguments& arguments) {
  return order(context, arguments, spool::OrderKind::kRelease,
               "is taken as arrived and forgotten, nobody is told");
}

Result<int> parcel_fail(Context& context, const Arguments& arguments) {
  return order(context, arguments, spool::OrderKind::kFail,
               "is given up, the senders of its messages are told");
}

Result<int> clock_accept(Context& context, const Arguments& /*arguments*/) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const auto beat, spool::read_heartbeat(spool));
  if (!beat || !beat->believed) {
    return Status::permanent("5.5.4", "the dispatcher does not doubt the clock");
  }
  TRY(spool::accept_clock(spool));
  if (context.json) {
    context.out << Json().object().field("accepted", time_text(context.clock.now())).end().text();
  } else {
    context.out << "the clock is taken as right: " << time_text(context.clock.now()) << "\n";
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl
