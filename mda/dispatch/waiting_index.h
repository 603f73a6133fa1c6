// WaitingIndex: what lies in one peer's incoming/, in memory: ids in order of arrival with their
// sizes, and the total. Filled by one directory scan, kept up by inotify events; picking a batch
// never looks at the directory again, so 10^5 waiting items cost no more than 10.
// May not: do I/O. Memory: about 100 octets an item. Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/id.h"

namespace bsmtp::mda {

class WaitingIndex {
 public:
  // Names that are no ids are ignored; adding again corrects the size.
  void add(std::string_view id, std::uint64_t octets);
  void remove(std::string_view id);
  void clear();

  bool contains(std::string_view id) const { return items_.find(id) != items_.end(); }
  std::size_t count() const { return items_.size(); }
  std::uint64_t octets() const { return octets_; }
  // Arrival of the oldest item.
  std::optional<TimePoint> oldest() const;
  // id -> octets, oldest first.
  const std::map<std::string, std::uint64_t, std::less<>>& items() const { return items_; }

 private:
  std::map<std::string, std::uint64_t, std::less<>> items_;
  std::uint64_t octets_ = 0;
};

}  // namespace bsmtp::mda
