// WorkerPool: a fixed number of threads that run tasks in order; they sleep when there is none.
// A task gets its worker's number, for things each worker keeps (a connection, a signing
// context). The caller hands out at most free() tasks when it wants to choose late.
// Failure: none; a task reports through what it captures. Threads: safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace bsmtp::mda {

class WorkerPool {
 public:
  using Task = std::function<void(std::size_t worker)>;

  explicit WorkerPool(std::size_t workers);
  ~WorkerPool();  // drops tasks not begun, waits for the others
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void submit(Task task);
  // Workers without anything to do, less tasks that wait.
  std::size_t free() const;
  std::size_t size() const { return threads_.size(); }
  // No new task is begun; true when all have ended within `grace`.
  bool stop(std::chrono::milliseconds grace);

 private:
  void work(std::size_t worker);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable ended_;
  std::deque<Task> tasks_;
  std::size_t busy_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bsmtp::mda
