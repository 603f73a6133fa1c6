// Journal: lets several threads share one Ledger and commits what they hand it together (group
// commit): whoever waits first commits everything that is queued, the others find theirs done.
// So n connections cost about one fsync per group and no switch to another thread. submit()
// only queues; nothing is on disk before wait() has returned ok. An operation sees all earlier
// ones of its group.
// Failure: when a group fails, each operation of it is tried once more alone, so that one bad
// operation cannot fail its neighbours; wait() returns its own Status.
// Threads: all functions from any thread; destruction commits what was submitted.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
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

  Ticket submit(Operation operation);
  // Until the operation is committed, or has failed.
  Status wait(const Ticket& ticket);
  // submit() and wait().
  Status run(Operation operation);
  // Commits made so far (tests and `status`).
  std::uint64_t commits() const;

 private:
  explicit Journal(Ledger ledger) : ledger_(std::move(ledger)) {}
  void commit_group(const std::vector<Ticket>& group);
  Status commit(const std::vector<Ticket>& group);

  std::mutex commit_mutex_;  // held by the one who commits; guards ledger_ and Entry::status
  Ledger ledger_;
  mutable std::mutex queue_mutex_;
  std::vector<Ticket> queue_;
  std::uint64_t commits_ = 0;
};

}  // namespace bsmtp::ledger
