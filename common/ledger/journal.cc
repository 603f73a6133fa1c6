// See journal.h.
#include "common/ledger/journal.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace bsmtp::ledger {
namespace {

using std::chrono::steady_clock;

// How long an operation that nobody waits for may wait for company before it is committed, and
// before the disk is synced.
constexpr std::chrono::milliseconds kGather{2};
constexpr std::chrono::milliseconds kSyncAfter{10};

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
  wake_.notify_one();
  thread_.join();
}

Journal::Ticket Journal::submit(Operation operation) {
  auto entry = std::make_shared<Entry>();
  entry->operation = std::move(operation);
  bool first = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    first = queue_.empty();
    queue_.push_back(entry);
  }
  if (first) {
    wake_.notify_one();
  }
  return entry;
}

Status Journal::wait(const Ticket& ticket) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!ticket->status) {
    hurry_ = true;
    wake_.notify_one();
  }
  decided_.wait(lock, [&] { return ticket->status.has_value(); });
  return *ticket->status;
}

void Journal::run_commits() {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto wanted = [this] { return closing_ || hurry_; };
  for (;;) {
    const auto due = written_since_ + kSyncAfter;
    const auto woken = [&] { return wanted() || !queue_.empty(); };
    if (written_.empty()) {
      wake_.wait(lock, woken);
    } else {
      wake_.wait_until(lock, due, woken);
    }
    if (closing_ && queue_.empty() && written_.empty()) {
      return;
    }
    if (!queue_.empty()) {
      const auto gathered = steady_clock::now() + kGather;
      wake_.wait_until(lock, written_.empty() ? gathered : std::min(due, gathered), wanted);
    }
    const bool sync_now = wanted() || (!written_.empty() && steady_clock::now() >= due);
    hurry_ = false;
    std::vector<Ticket> group;
    group.swap(queue_);
    lock.unlock();
    if (!group.empty()) {
      commit_group(group);
    }
    if (sync_now) {
      sync_written();
    }
    lock.lock();
  }
}

std::optional<Status> Journal::decided(const Ticket& ticket) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ticket->status;
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
  std::vector<std::pair<Ticket, Status>> failed;
  if (written_.empty()) {
    written_since_ = steady_clock::now();
  }
  for (const Ticket& ticket : group) {
    Status own = status.is_ok() || group.size() == 1 ? status : commit({ticket});
    ticket->operation = nullptr;
    if (own.is_ok()) {
      written_.push_back(ticket);
    } else {
      failed.emplace_back(ticket, std::move(own));
    }
  }
  if (!failed.empty()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [ticket, why] : failed) {
      ticket->status = std::move(why);
    }
    decided_.notify_all();
  }
}

void Journal::sync_written() {
  if (written_.empty()) {
    return;
  }
  const Status status = ledger_.sync();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Ticket& ticket : written_) {
      ticket->status = status;
    }
  }
  written_.clear();
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
