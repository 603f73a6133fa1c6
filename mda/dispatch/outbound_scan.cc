// See outbound.h: what waits and what is ready, from the disk and from events.
#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "mda/dispatch/outbound.h"

namespace bsmtp::mda {
namespace {

// Items of one peer looked at in one go: some milliseconds, on a cold disk some tenths.
constexpr std::size_t kScanStep = 1000;

}  // namespace

Status Outbound::scan() {
  for (auto& [name, queue] : queues_) {
    TRY(scan_incoming(name, queue));
    TRY(scan_ready(name, queue));
    TRY(scan_sent(name, queue));
  }
  return Status::ok();
}

Status Outbound::recover() {
  for (const auto& [name, queue] : queues_) {
    TRY(recover_peer(spool_, name));
  }
  return Status::ok();
}

Status Outbound::scan_incoming(const std::string& peer, Queue& queue) {
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool_.list_incoming(peer));
  queue.waiting.clear();
  queue.unseen.assign(ids.rbegin(), ids.rend());
  return Status::ok();
}

void Outbound::scan_on(TimePoint now, std::optional<TimePoint>& due) {
  for (auto& [name, queue] : queues_) {
    for (std::size_t i = 0; i < kScanStep && !queue.unseen.empty(); ++i) {
      item_arrived(name, queue.unseen.back());
      queue.unseen.pop_back();
    }
    for (std::size_t i = 0; i < kScanStep && !queue.unseen_sent.empty(); ++i) {
      sent_arrived(name, queue.unseen_sent.back());
      queue.unseen_sent.pop_back();
    }
    if (!queue.unseen.empty() || !queue.unseen_sent.empty()) {
      due = now;
    } else if (queue.unseen.capacity() != 0) {
      queue.unseen = {};  // gives the memory back
    }
  }
}

Status Outbound::scan_ready(const std::string& peer, Queue& queue) {
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool_.list_parcels(peer, spool::Stage::kReady));
  std::erase_if(queue.ready, [&](const auto& entry) {
    return !entry.second.in_work && !std::binary_search(ids.begin(), ids.end(), entry.first);
  });
  for (const std::string& id : ids) {
    parcel_arrived(peer, id);
  }
  return Status::ok();
}

void Outbound::item_arrived(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  if (queue == queues_.end() || !is_id(id)) {
    return;
  }
  const auto info = spool_.ops().stat(spool_.paths().item(peer, id));
  if (info.is_ok()) {
    queue->second.waiting.add(id, info->size);
    if (id < queue->second.warned) {
      queue->second.warned.clear();  // came back from a parcel; who was told is not told again
    }
  }
}

void Outbound::item_left(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  // An item that came back meanwhile has left and arrived: the disk decides.
  if (queue != queues_.end() && queue->second.waiting.contains(id) &&
      !spool_.ops().stat(spool_.paths().item(peer, id)).is_ok()) {
    queue->second.waiting.remove(id);
  }
}

void Outbound::parcel_arrived(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  if (queue == queues_.end() || !is_id(id) || queue->second.ready.count(id) != 0 ||
      queue->second.building.count(id) != 0 || queue->second.splits.count(id) != 0 ||
      queue->second.reviewing.count(id) != 0 || queue->second.splitting) {
    return;
  }
  const auto fields = spool::ParcelDir::peek_state(spool_, peer, spool::Stage::kReady, id);
  Ready ready;
  ready.created = id_time(id).value_or(clock_.now());
  if (fields.is_ok()) {
    const ParcelState state = ParcelState::from(*fields);
    ready.next = state.next;
    ready.again = state.handed != TimePoint();
  } else if (fields.status().error_number() == ENOENT &&
             !spool_.ops().stat(spool_.paths().parcel(peer, spool::Stage::kReady, id)).is_ok()) {
    return;  // gone. One without its state is tried, and named
  }
  queue->second.ready[id] = ready;
}

void Outbound::parcel_left(const std::string& peer, const std::string& id) {
  const auto queue = queues_.find(peer);
  if (queue == queues_.end()) {
    return;
  }
  const auto ready = queue->second.ready.find(id);
  if (ready != queue->second.ready.end() && !ready->second.in_work) {
    queue->second.ready.erase(ready);
  }
}

bool Outbound::scanned() const {
  return std::all_of(queues_.begin(), queues_.end(), [](const auto& entry) {
    return entry.second.unseen.empty() && entry.second.unseen_sent.empty();
  });
}

}  // namespace bsmtp::mda
