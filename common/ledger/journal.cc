// See journal.h.
#include "common/ledger/journal.h"

#include <optional>
#include <utility>

namespace bsmtp::ledger {

struct Journal::Entry {
  Operation operation;
  std::optional<Status> status;  // set when decided
};

Result<std::unique_ptr<Journal>> Journal::open(const std::string& file) {
  auto ledger = Ledger::open(file);
  if (!ledger.is_ok()) {
    return ledger.status();
  }
  return std::unique_ptr<Journal>(new Journal(std::move(ledger).value()));
}

Journal::~Journal() {
  commit_group(queue_);
}

Journal::Ticket Journal::submit(Operation operation) {
  auto entry = std::make_shared<Entry>();
  entry->operation = std::move(operation);
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  queue_.push_back(entry);
  return entry;
}

Status Journal::wait(const Ticket& ticket) {
  const std::lock_guard<std::mutex> leader(commit_mutex_);
  if (!ticket->status) {
    std::vector<Ticket> group;
    {
      const std::lock_guard<std::mutex> lock(queue_mutex_);
      group.swap(queue_);
    }
    commit_group(group);
  }
  return *ticket->status;
}

Status Journal::run(Operation operation) {
  return wait(submit(std::move(operation)));
}

std::uint64_t Journal::commits() const {
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  return commits_;
}

void Journal::commit_group(const std::vector<Ticket>& group) {
  const Status status = commit(group);
  for (const Ticket& ticket : group) {
    ticket->status = status.is_ok() || group.size() == 1 ? status : commit({ticket});
    ticket->operation = nullptr;
  }
}

Status Journal::commit(const std::vector<Ticket>& group) {
  if (group.empty()) {
    return Status::ok();
  }
  Status status = ledger_.begin();
  for (auto ticket = group.begin(); status.is_ok() && ticket != group.end(); ++ticket) {
    status = (*ticket)->operation(ledger_);
  }
  if (status.is_ok()) {
    status = ledger_.commit();
  }
  if (!status.is_ok()) {
    ledger_.rollback();
    return status;
  }
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  ++commits_;
  return status;
}

}  // namespace bsmtp::ledger
