// See outbound.h: what is late, too much, or due to be looked at.
#include <algorithm>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/outbound.h"

namespace bsmtp::mda {
namespace {

// Looked at in one go, so that one peer's 10^5 do not keep the others' waiting.
constexpr std::size_t kDelayedAtOnce = 500;
constexpr std::size_t kExpiredAtOnce = 100;
constexpr std::size_t kParcelsAtOnce = 5;

void take_earlier(std::optional<TimePoint>& since, TimePoint when) {
  since = since ? std::min(*since, when) : when;
}

}  // namespace

std::map<std::string, TimePoint> Outbound::late_since() const {
  std::map<std::string, TimePoint> out;
  const TimePoint now = clock_.now();
  for (const auto& [name, queue] : queues_) {
    std::optional<TimePoint> since;
    if (const auto oldest = queue.waiting.oldest()) {
      take_earlier(since, *oldest + queue.peer->max_age);
    }
    const auto unsent = std::find_if(queue.ready.begin(), queue.ready.end(),
                                     [](const auto& ready) { return !ready.second.again; });
    if (unsent != queue.ready.end()) {
      take_earlier(since, unsent->second.created);
    }
    if (since && *since < now) {
      out[name] = *since;
    }
  }
  return out;
}

void Outbound::note_quota(const std::string& name, Queue& queue, TimePoint now) {
  const std::uint64_t messages = queue.waiting.count() + queue.unseen.size();
  const std::uint64_t octets = queue.waiting.octets();
  const config::Peer& peer = *queue.peer;
  if (!queue.full && (messages >= peer.max_queued || octets >= peer.max_queued_bytes)) {
    queue.full = now;
    log::alarm(name, str_cat({std::to_string(messages), " messages with ", std::to_string(octets),
                              " octets wait for this peer, as many as max-queued or "
                              "max-queued-bytes allow: bsmtp-out leaves new ones with the MTA; see "
                              "`bsmtpctl status`"}));
  } else if (queue.full && messages <= peer.max_queued / 10 * 9 &&
             octets <= peer.max_queued_bytes / 10 * 9) {
    queue.full.reset();
  }
}

std::map<std::string, TimePoint> Outbound::full_since() const {
  std::map<std::string, TimePoint> out;
  for (const auto& [name, queue] : queues_) {
    if (queue.full) {
      out[name] = *queue.full;
    }
  }
  return out;
}

std::vector<PeerBacklog> Outbound::backlog() const {
  const TimePoint now = clock_.now();
  const auto late = late_since();
  std::vector<PeerBacklog> out;
  for (const auto& [name, queue] : queues_) {
    PeerBacklog& peer = out.emplace_back();
    peer.peer = name;
    peer.messages = queue.waiting.count();
    peer.octets = queue.waiting.octets();
    peer.parcels = queue.ready.size();
    if (const auto since = late.find(name); since != late.end()) {
      peer.late_since = since->second;
    }
    const auto& items = queue.waiting.items();
    // What a free worker is about to build has its chance first, however old it is. What cannot be
    // built for a reason of ours (key, key ring, disk) waits until that is mended: no sender is to
    // be told of a failure because of it.
    const BatchDecision decision = decide(queue, now);
    const bool stuck =
        !space_low_ && queue.build_failures == 0 && decision.items.empty() && !decision.next_due;
    for (auto item = items.begin();
         stuck && item != items.end() && peer.expired.size() < kExpiredAtOnce &&
         id_time(item->first).value_or(now) + config_->delivery_expire <= now;
         ++item) {
      peer.expired.push_back(item->first);
    }
    for (auto item = items.upper_bound(queue.warned);
         item != items.end() && peer.delayed.size() < kDelayedAtOnce &&
         id_time(item->first).value_or(now) + config_->delay_warning <= now;
         ++item) {
      peer.delayed.push_back(item->first);
    }
    peer.unconfirmed = unconfirmed(queue, now);
    peer.more = peer.expired.size() == kExpiredAtOnce || peer.delayed.size() == kDelayedAtOnce ||
                peer.unconfirmed.size() == kParcelsAtOnce;
    for (const auto& [id, ready] : queue.ready) {
      if (!ready.again) {  // what left before is not delayed here
        peer.ready.push_back({id, ready.warned});
      }
    }
  }
  return out;
}

// Parcels in sent/ for delay-warning whose senders do not know yet.
std::vector<std::string> Outbound::unconfirmed(const Queue& queue, TimePoint now) const {
  std::vector<std::string> out;
  if (!reviews_ || !queue.receipts_seen) {
    return out;  // receipts are about to be read; or it is more likely that the peer gives none
  }
  for (const auto& [id, due] : queue.sent.all()) {
    if (out.size() < kParcelsAtOnce && queue.unconfirmed.count(id) == 0 &&
        id_time(id).value_or(now) + config_->delay_warning <= now) {
      out.push_back(id);
    }
  }
  return out;
}

void Outbound::watched(const std::vector<PeerBacklog>& done) {
  for (const PeerBacklog& peer : done) {
    const auto found = queues_.find(peer.peer);
    if (found == queues_.end()) {
      continue;
    }
    Queue& queue = found->second;
    queue.warned = std::max(queue.warned, peer.warned);
    std::erase_if(queue.unconfirmed, [&](const std::string& id) {
      return !queue.sent.contains(id) && queue.ready.count(id) == 0;
    });
    queue.unconfirmed.insert(peer.unconfirmed.begin(), peer.unconfirmed.end());
    for (const PeerBacklog::Parcel& parcel : peer.ready) {
      const auto ready = queue.ready.find(parcel.id);
      if (ready != queue.ready.end()) {
        ready->second.warned = std::max(ready->second.warned, parcel.warned);
      }
    }
  }
}

}  // namespace bsmtp::mda
