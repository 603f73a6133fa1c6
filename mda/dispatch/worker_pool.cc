// See worker_pool.h.
#include "mda/dispatch/worker_pool.h"

#include <utility>

namespace bsmtp::mda {

WorkerPool::WorkerPool(std::size_t workers) {
  threads_.reserve(workers);
  for (std::size_t i = 0; i < workers; ++i) {
    threads_.emplace_back([this, i] { work(i); });
  }
}

WorkerPool::~WorkerPool() {
  stop(std::chrono::milliseconds(0));
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void WorkerPool::submit(Task task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

std::size_t WorkerPool::free() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t taken = busy_ + tasks_.size();
  return taken >= threads_.size() ? 0 : threads_.size() - taken;
}

bool WorkerPool::stop(std::chrono::milliseconds grace) {
  std::unique_lock<std::mutex> lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
  return ended_.wait_for(lock, grace, [this] { return busy_ == 0; });
}

void WorkerPool::work(std::size_t worker) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) {
      return;
    }
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    ++busy_;
    lock.unlock();
    task(worker);
    lock.lock();
    --busy_;
    ended_.notify_all();
  }
}

}  // namespace bsmtp::mda
