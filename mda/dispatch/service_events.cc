// See service.h: what the watched directories say, and what others say about our parcels.
#include <string>

#include "common/spool/order.h"
#include "common/spool/receipt_times.h"
#include "mda/dispatch/flush_request.h"
#include "mda/dispatch/orders.h"
#include "mda/dispatch/returns.h"
#include "mda/dispatch/service.h"

namespace bsmtp::mda {
namespace {

// Watch tags: places common to all peers, then kPlaces for each peer.
enum SharedPlace : int {
  kAccepted = 1,
  kNoticesReady,
  kReturnsPlace,
  kReceiptsPlace,
  kAskedPlace,
  kFirstPeer
};
enum PeerPlace : int { kPeerRoot, kIncoming, kReadyPlace, kSentPlace, kPlaces };

}  // namespace

Status Service::watch_all() {
  const spool::Paths& paths = spool_.paths();
  TRY(watcher_->watch(paths.accepted(), kAccepted));
  TRY(watcher_->watch(paths.notices_ready(), kNoticesReady));
  TRY(watcher_->watch(paths.returns(), kReturnsPlace));
  TRY(watcher_->watch(paths.inbound_asked(), kAskedPlace));
  TRY(watcher_->watch(paths.inbound_receipts(), kReceiptsPlace));
  int tag = kFirstPeer;
  for (const std::string& peer : peers_) {
    TRY(watcher_->watch(paths.peer(peer), tag + kPeerRoot));
    TRY(watcher_->watch(paths.incoming(peer), tag + kIncoming));
    TRY(watcher_->watch(paths.stage(peer, spool::Stage::kReady), tag + kReadyPlace));
    TRY(watcher_->watch(paths.stage(peer, spool::Stage::kSent), tag + kSentPlace));
    tag += kPlaces;
  }
  return Status::ok();
}

Result<bool> Service::handle_events() {
  std::vector<Watcher::Event> events;
  TRY_ASSIGN(events, watcher_->read());
  for (const Watcher::Event& event : events) {
    if (ending_) {
      break;  // who comes next looks for itself
    }
    const bool arrived = event.kind == Watcher::Kind::kArrived;
    if (event.kind == Watcher::Kind::kOverflow) {
      rescan_ = true;
    } else if (event.tag == kAccepted) {
      accepted_changed_ = accepted_changed_ || arrived;
      periodic(Task::kAnswers).wanted |= arrived;
    } else if (event.tag == kAskedPlace) {
      periodic(Task::kAnswers).wanted |= arrived;
    } else if (event.tag == kNoticesReady) {
      periodic(Task::kNotices).wanted |= arrived;
    } else if (event.tag == kReturnsPlace || event.tag == kReceiptsPlace) {
      periodic(Task::kReturns).wanted |= arrived;
    } else if (event.tag >= kFirstPeer) {
      const auto index = static_cast<std::size_t>((event.tag - kFirstPeer) / kPlaces);
      handle_peer_event(peers_.at(index), (event.tag - kFirstPeer) % kPlaces, event);
    }
  }
  return !events.empty();
}

void Service::handle_peer_event(const std::string& peer, int place, const Watcher::Event& event) {
  const bool arrived = event.kind == Watcher::Kind::kArrived;
  if (place == kIncoming) {
    arrived ? outbound_->item_arrived(peer, event.name) : outbound_->item_left(peer, event.name);
  } else if (place == kReadyPlace) {
    arrived ? outbound_->parcel_arrived(peer, event.name)
            : outbound_->parcel_left(peer, event.name);
  } else if (place == kSentPlace) {
    arrived ? outbound_->sent_arrived(peer, event.name) : outbound_->sent_left(peer, event.name);
  } else if (arrived && event.name == kFlushName) {
    flush_peers();
  } else if (arrived && event.name == spool::kReceiptTimesName) {
    outbound_->receipt_came(peer);
  } else if (arrived && event.name.starts_with(spool::kOrderPrefix)) {
    periodic(Task::kReturns).wanted = true;
  }
}

// What others say about our parcels: bounces, receipts, admins.
Status Service::handle_news(SubmitContext& context) {
  TouchedParcels touched;
  Status status = handle_receipts(context);
  for (const Status& more :
       {handle_returns(context, tokens_, touched), handle_orders(context, peers_, touched)}) {
    status = status.is_ok() ? more : status;
  }
  mailbox_->post([this, touched] {
    if (!outbound_) {
      return;
    }
    for (const auto& [peer, parcel] : touched) {
      outbound_->parcel_touched(peer, parcel);
    }
    // Whose receipt has come is known now, and so whose has not.
    periodic(Task::kWatch).wanted |= outbound_->begin_reviews();
  });
  return status;
}

}  // namespace bsmtp::mda
