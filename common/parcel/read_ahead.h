// Reads a Source in a second thread, a few blocks ahead of whoever reads from here: the layers of a
// verified parcel are undone beside each other and beside parsing and writing
// (docs/performance.md). What comes out, and after how many octets a failure comes, is as if the
// source were read directly. Memory: kBlocks blocks of kBlockSize. The destructor stops the thread,
// whatever was reached.
// Threads: used by one; `from` belongs to the second thread until this object is gone.
#pragma once

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/stream.h"

namespace bsmtp::parcel {

class ReadAhead final : public Source {
 public:
  static constexpr std::size_t kBlocks = 4;

  // `from` must outlive this object. When no thread can be had, read() reads `from` itself.
  explicit ReadAhead(Source& from);
  // Waits for a read of `from` that is going on, for no more.
  ~ReadAhead() override;
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // After the end (0) or a failure `from` is not read again; later calls give the same.
  Result<std::size_t> read(std::span<char> out) override;

 private:
  struct Block {
    std::vector<char> data;
    std::size_t size = 0;
  };
  // The second thread's.
  void run();
  bool wait_for_room();
  void publish(std::size_t size);
  void end(Status status);
  // The reader's.
  bool wait_for_block();
  void give_back();

  Source& from_;
  std::array<Block, kBlocks> blocks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Under mutex_. Block n lies in blocks_[n % kBlocks]; from emptied_ to filled_ they hold data.
  std::size_t filled_ = 0;   // only the second thread counts it up
  std::size_t emptied_ = 0;  // only the reader does
  bool ended_ = false;       // no more blocks come; status_ says why
  bool stop_ = false;
  Status status_;
  // The reader's.
  std::size_t available_ = 0;  // filled_ when last seen: less locking
  std::size_t pos_ = 0;        // in the block that is being read
  std::thread thread_;
};

}  // namespace bsmtp::parcel
