// See waiting_index.h.
#include "mda/dispatch/waiting_index.h"

namespace bsmtp::mda {

void WaitingIndex::add(std::string_view id, std::uint64_t octets) {
  if (!is_id(id)) {
    return;
  }
  const auto [item, fresh] = items_.try_emplace(std::string(id), octets);
  octets_ += octets;
  if (!fresh) {
    octets_ -= item->second;
    item->second = octets;
  }
}

void WaitingIndex::remove(std::string_view id) {
  const auto item = items_.find(id);
  if (item != items_.end()) {
    octets_ -= item->second;
    items_.erase(item);
  }
}

void WaitingIndex::clear() {
  items_.clear();
  octets_ = 0;
}

std::optional<TimePoint> WaitingIndex::oldest() const {
  return items_.empty() ? std::nullopt : id_time(items_.begin()->first);
}

}  // namespace bsmtp::mda
