// Journal: lets several threads share one Ledger and commits what they hand it together (group
// commit). A thread of its own commits what is queued after two milliseconds, which a crash of
// this process cannot undo, and syncs the disk for several such groups: at once when somebody
// waits, after ten milliseconds when nobody does yet. So n connections share a sync, and the disk
// works while they wait for something else. Nothing is surely on disk before wait() has returned
// ok. Operations are carried out in the order of submit() and see all earlier ones.
// Failure: when a group fails, each operation of it is tried once more alone, so that one bad
// operation cannot fail its neighbours; wait() returns its own Status.
// Threads: all functions from any thread; destruction commits what was submitted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/status.h"
#include "common/ledger/ledger.h"

namespace bsmtp::ledger {

class Journal {
 public:
  // May run twice (see Failure), so it must not change anything outside the ledger except by
  // assigning results.
  using Operation = std::function<Status(Ledger&)>;
  struct Entry;
  using Ticket = std::shared_ptr<Entry>;

  static Result<std::unique_ptr<Journal>> open(const std::string& file);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Returns at once.
  Ticket submit(Operation operation);
  // Until the operation is committed and on disk, or has failed.
  Status wait(const Ticket& ticket);
  // What wait() would return, if it need not wait.
  std::optional<Status> decided(const Ticket& ticket) const;
  // submit() and wait().
  Status run(Operation operation);
  // Commits made so far (tests and `status`).
  std::uint64_t commits() const;

 private:
  explicit Journal(Ledger ledger);
  void run_commits();
  void commit_group(const std::vector<Ticket>& group);
  void sync_written();
  Status commit(const std::vector<Ticket>& group);

  Ledger ledger_;  // of the committing thread
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // the committing thread: work, or somebody waits
  std::condition_variable decided_;
  std::vector<Ticket> queue_;
  std::vector<Ticket> written_;  // committed and not synced; of the committing thread
  std::chrono::steady_clock::time_point written_since_;
  std::uint64_t commits_ = 0;
  bool hurry_ = false;  // somebody waits for what is queued
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace bsmtp::ledger
