// See journal.h.
#include "common/ledger/journal.h"

#include <chrono>
#include <optional>
#include <utility>

namespace bsmtp::ledger {
namespace {

// How long an operation that nobody waits for may wait for company.
constexpr std::chrono::milliseconds kGather{3};

}  // namespace

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

Journal::Journal(Ledger ledger) : ledger_(std::move(ledger)), thread_([this] { run_commits(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  queued_.notify_one();
  thread_.join();
}

Journal::Ticket Journal::submit(Operation operation) {
  auto entry = std::make_shared<Entry>();
  entry->operation = std::move(operation);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(entry);
  }
  queued_.notify_one();
  return entry;
}

Status Journal::wait(const Ticket& ticket) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!ticket->status) {
    hurry_ = true;
    queued_.notify_one();
  }
  decided_.wait(lock, [&] { return ticket->status.has_value(); });
  return *ticket->status;
}

void Journal::run_commits() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    queued_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) {
      return;
    }
    queued_.wait_for(lock, kGather, [this] { return closing_ || hurry_; });
    hurry_ = false;
    std::vector<Ticket> group;
    group.swap(queue_);
    lock.unlock();
    commit_group(group);
    lock.lock();
  }
}

Status Journal::run(Operation operation) {
  return wait(submit(std::move(operation)));
}

std::uint64_t Journal::commits() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return commits_;
}

void Journal::commit_group(const std::vector<Ticket>& group) {
  const Status status = commit(group);
  std::vector<Status> each;
  for (const Ticket& ticket : group) {
    each.push_back(status.is_ok() || group.size() == 1 ? status : commit({ticket}));
    ticket->operation = nullptr;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t i = 0; i < group.size(); ++i) {
      group[i]->status = std::move(each[i]);
    }
  }
  decided_.notify_all();
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
  const std::lock_guard<std::mutex> lock(mutex_);
  ++commits_;
  return status;
}

}  // namespace bsmtp::ledger
