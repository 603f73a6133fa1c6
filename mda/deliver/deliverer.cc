// See deliverer.h.
#include "mda/deliver/deliverer.h"

#include <algorithm>

#include "common/base/text.h"

namespace bsmtp::mda {

Deliverer::Deliverer(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
                     ledger::Journal& journal, NoticeStore& notices,
                     const spool::Quarantine& quarantine, const Clock& clock,
                     std::function<void()> changed)
    : spool_(spool),
      clock_(clock),
      shared_{std::move(config),  spool, journal, notices, clock, queue_, quarantine,
              std::move(changed), {},    {}},
      keeper_(shared_) {
  const std::uint64_t count = std::max<std::uint64_t>(1, shared_.config->resubmit_connections);
  running_ = count + 1;
  threads_.emplace_back([this] {
    keeper_.run();
    ended_one();
  });
  for (std::uint64_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<DeliveryWorker>(shared_));
    threads_.emplace_back([this, worker = workers_.back().get()] {
      worker->run();
      ended_one();
    });
  }
}

void Deliverer::ended_one() {
  const std::lock_guard<std::mutex> lock(done_mutex_);
  if (--running_ == 1) {
    queue_.close();  // only the keeper is left
  }
  done_.notify_all();
}

Deliverer::~Deliverer() {
  stop(std::chrono::seconds(5));
}

bool Deliverer::ended() const {
  const std::lock_guard<std::mutex> lock(done_mutex_);
  return running_ == 0;
}

void Deliverer::stop(std::chrono::milliseconds grace) {
  if (threads_.empty()) {
    return;
  }
  queue_.stop();
  {
    std::unique_lock<std::mutex> lock(done_mutex_);
    done_.wait_for(lock, grace, [this] { return running_ == 0; });
  }
  for (const auto& worker : workers_) {
    worker->interrupt();
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

Status Deliverer::scan() {
  const TimePoint now = clock_.now();
  if (const auto paused = queue_.paused_until(); paused && now >= *paused) {
    queue_.resume();
  }
  queue_.scanning();
  std::vector<std::string> due;
  TRY_ASSIGN(due, AcceptedDir::list_accepted(spool_));
  std::vector<std::string> deferred;
  TRY_ASSIGN(deferred, AcceptedDir::list_deferred(spool_));
  deferred_.clear();
  for (const std::string& name : deferred) {
    const TimePoint next = AcceptedDir::peek_deferral(spool_, name).next;
    if (next <= now) {
      due.push_back(name);
    } else {
      deferred_[name] = next;
    }
  }
  if (!only_peer_.empty()) {
    const std::string prefix = str_cat({only_peer_, "."});
    std::erase_if(due, [&](const std::string& name) { return !name.starts_with(prefix); });
  }
  queue_.add(due);
  return Status::ok();
}

std::optional<TimePoint> Deliverer::next_due() const {
  std::optional<TimePoint> next = queue_.paused_until();
  if (const auto again = queue_.look_again_at(); again && (!next || *again < *next)) {
    next = again;
  }
  for (const auto& [name, when] : deferred_) {
    if (!next || when < *next) {
      next = when;
    }
  }
  return next;
}

bool Deliverer::idle() const {
  return queue_.idle();
}

}  // namespace bsmtp::mda
