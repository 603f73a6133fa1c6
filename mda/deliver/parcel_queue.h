// ParcelQueue: what waits for delivery, handed out message by message to the delivery workers, and
// parcel by parcel to the keeper, who opens and concludes them. Peers take turns; of one peer at
// most kOpenPerPeer parcels are open at a time, so that neither a large parcel nor a busy peer
// keeps the others waiting. Also remembers which (peer, recipient
// key) pairs are under way: the same message in two parcels is never handed over twice at once.
// May not: do I/O. Threads: safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "mda/deliver/accepted_dir.h"

namespace bsmtp::mda {

// A claimed parcel in delivery. `dir` is changed by the keeper only: at loading and, when the
// last message is settled, at the end.
struct OpenParcel {
  explicit OpenParcel(AcceptedDir d) : dir(std::move(d)) {}
  AcceptedDir dir;
  TimePoint retain_until{};
  std::set<std::uint64_t> doubtful;  // messages in doubt since a crash; never changed
  // Guarded by the queue.
  std::deque<std::uint64_t> todo;
  std::size_t in_work = 0;
  std::vector<std::uint64_t> finished;
  std::vector<std::uint64_t> unfinished;
  std::uint64_t damaged = 0;                 // of the unfinished: cannot be read
  std::uint64_t lost = 0;                    // of the finished: damaged, given up
  std::map<std::uint64_t, unsigned> broken;  // message -> connections lost on it
};

class ParcelQueue {
 public:
  static constexpr std::size_t kOpenPerPeer = 2;

  // Of the workers: a message to deliver.
  struct Job {
    std::shared_ptr<OpenParcel> parcel;
    std::uint64_t message = 0;
  };
  // Of the keeper: a parcel to load by name (parcel null), or one to conclude.
  struct Chore {
    std::string name;
    std::shared_ptr<OpenParcel> parcel;
  };
  enum class Wait { kNo, kBriefly, kForever };

  // Names that are known already are ignored.
  void add(const std::vector<std::string>& names);
  // nullopt: nothing to do (kNo, or kBriefly after a second), paused, or stopping.
  std::optional<Job> next(Wait wait);
  // Messages of open parcels that wait for a worker.
  std::size_t to_do() const;
  // nullopt: nothing to do (kNo), or close() was called and nothing is left to conclude.
  std::optional<Chore> next_chore(Wait wait);
  // After loading: opens the parcel, or forgets the name (gone, locked, dropped).
  void opened(const std::string& name, std::shared_ptr<OpenParcel> parcel);
  void forget(const std::string& name);
  // A message goes back, to be taken again: as the first of its parcel, or as the last, behind the
  // peer's other open parcels.
  void give_back(const Job& job, bool first);
  // After the parcel's last message the keeper is given it to conclude and forget().
  void settled(const Job& job, bool finished, bool lost = false);
  // The same for a message that cannot be read: it stays unfinished.
  void set_aside(const Job& job);
  // How often the connection broke on this message, this time included.
  unsigned count_broken(const Job& job);

  // False when any of the keys is under way; else all are, until released.
  bool own_keys(const std::string& peer, const std::vector<std::string>& keys);
  void release_keys(const std::string& peer, const std::vector<std::string>& keys);

  // No job is given out before `until` (the host MTA is down).
  void pause(TimePoint until);
  std::optional<TimePoint> paused_until() const;
  void resume();
  // A parcel was deferred until `when`: the spool is to be scanned then (or earlier).
  void look_again(TimePoint when);
  std::optional<TimePoint> look_again_at() const;
  // A scan begins, which sees all that was deferred before it.
  void scanning();
  // Returns after `time`, or when stopping.
  void sleep(std::chrono::milliseconds time);
  // next() returns nullopt from now on, and no parcel is opened any more.
  void stop();
  // No worker is left: the keeper may end when everything settled is concluded.
  void close();
  bool stopping() const;
  // Nothing known, or only what a pause holds back.
  bool idle() const;

 private:
  struct Lane {
    std::deque<std::string> waiting;
    std::vector<std::shared_ptr<OpenParcel>> open;
    std::size_t loading = 0;
  };
  template <typename Found>
  std::optional<Found> pick(std::optional<Found> (*pick_from)(Lane&), std::string& last_peer);
  static std::optional<Job> pick_message(Lane& lane);
  static std::optional<Chore> pick_load(Lane& lane);

  mutable std::mutex mutex_;
  std::condition_variable messages_;  // for the workers
  std::condition_variable chores_;    // for the keeper
  std::condition_variable resting_;   // for workers that want no message
  std::map<std::string, Lane> lanes_;
  std::string last_peer_;
  std::string last_loaded_;
  std::deque<std::shared_ptr<OpenParcel>> settled_;  // to be concluded
  std::set<std::string> known_;
  std::unordered_set<std::string> busy_keys_;
  std::optional<TimePoint> paused_;
  std::optional<TimePoint> look_again_;
  std::size_t given_out_ = 0;
  bool stopping_ = false;
  bool closed_ = false;
};

}  // namespace bsmtp::mda
