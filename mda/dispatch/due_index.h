// DueIndex: which parcels of one peer are to be looked at next, in memory: name -> time, ordered by
// time, so that 10^4 parcels that wait for a receipt cost nothing until one is due.
// May not: do I/O. Threads: one.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "common/base/clock.h"

namespace bsmtp::mda {

class DueIndex {
 public:
  // Adds it or changes its time; TimePoint::max(): only an event makes it due.
  void set(const std::string& id, TimePoint due) {
    remove(id);
    times_[id] = due;
    order_.emplace(due, id);
  }
  void remove(const std::string& id) {
    const auto found = times_.find(id);
    if (found != times_.end()) {
      order_.erase({found->second, id});
      times_.erase(found);
    }
  }
  void clear() {
    times_.clear();
    order_.clear();
  }
  bool contains(const std::string& id) const { return times_.count(id) != 0; }
  std::size_t size() const { return times_.size(); }
  // When the first is due; nullopt when none ever is by itself.
  std::optional<TimePoint> next() const {
    return order_.empty() || order_.begin()->first == TimePoint::max()
               ? std::nullopt
               : std::optional<TimePoint>(order_.begin()->first);
  }
  // The name of the first one that is due, "" when none is.
  std::string first_due(TimePoint now) const {
    return order_.empty() || order_.begin()->first > now ? "" : order_.begin()->second;
  }
  const std::map<std::string, TimePoint>& all() const { return times_; }

 private:
  std::map<std::string, TimePoint> times_;
  std::set<std::pair<TimePoint, std::string>> order_;
};

}  // namespace bsmtp::mda
