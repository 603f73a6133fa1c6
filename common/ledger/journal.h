// Journal: one thread that owns the Ledger and commits what other threads hand it, together:
// while one commit waits for the disk the next group gathers, so that n connections cost about
// one fsync per n messages (group commit). submit() returns at once; the future tells when the
// change is on disk. An operation sees all earlier ones of its group.
// Failure: when a group fails, each operation of it is tried once more alone, so that one bad
// operation cannot fail its neighbours; its future carries the Status.
// Threads: submit() and run() from any thread; destruction commits what was submitted.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
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

  static Result<std::unique_ptr<Journal>> open(const std::string& file);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  std::future<Status> submit(Operation operation);
  // submit() and wait.
  Status run(Operation operation);
  // Commits made so far (tests and `status`).
  std::uint64_t commits() const;

 private:
  struct Entry {
    Operation operation;
    std::promise<Status> promise;
  };

  explicit Journal(Ledger ledger);
  void work();
  void commit_group(std::vector<Entry>& group);
  Status apply(Entry& entry);

  Ledger ledger_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Entry> queue_;
  bool stopping_ = false;
  std::uint64_t commits_ = 0;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace bsmtp::ledger
