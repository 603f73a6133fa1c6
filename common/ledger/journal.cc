// See journal.h.
#include "common/ledger/journal.h"

#include <utility>

namespace bsmtp::ledger {

Result<std::unique_ptr<Journal>> Journal::open(const std::string& file) {
  auto ledger = Ledger::open(file);
  if (!ledger.is_ok()) {
    return ledger.status();
  }
  return std::unique_ptr<Journal>(new Journal(std::move(ledger).value()));
}

Journal::Journal(Ledger ledger) : ledger_(std::move(ledger)), thread_([this] { work(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::future<Status> Journal::submit(Operation operation) {
  Entry entry{std::move(operation), {}};
  std::future<Status> done = entry.promise.get_future();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(entry));
  }
  wake_.notify_one();
  return done;
}

Status Journal::run(Operation operation) {
  return submit(std::move(operation)).get();
}

std::uint64_t Journal::commits() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return commits_;
}

void Journal::work() {
  for (;;) {
    std::vector<Entry> group;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) {
        return;
      }
      group.swap(queue_);
    }
    commit_group(group);
  }
}

void Journal::commit_group(std::vector<Entry>& group) {
  Status status = ledger_.begin();
  for (auto entry = group.begin(); status.is_ok() && entry != group.end(); ++entry) {
    status = entry->operation(ledger_);
  }
  if (status.is_ok()) {
    status = ledger_.commit();
  }
  if (status.is_ok()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++commits_;
  } else {
    ledger_.rollback();
  }
  for (Entry& entry : group) {
    entry.promise.set_value(status.is_ok() || group.size() == 1 ? status : apply(entry));
  }
}

Status Journal::apply(Entry& entry) {
  Status status = ledger_.begin();
  if (status.is_ok()) {
    status = entry.operation(ledger_);
  }
  if (status.is_ok()) {
    status = ledger_.commit();
  }
  if (!status.is_ok()) {
    ledger_.rollback();
    return status;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  ++commits_;
  return status;
}

}  // namespace bsmtp::ledger
