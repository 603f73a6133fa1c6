#include "common/parcel/read_ahead.h"

#include <algorithm>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

namespace bsmtp::parcel {
namespace {

// Waking the other thread costs as much as a block's work (measured), so whoever has to wait does
// so until there is something for it to do at once: a reader for kMany filled blocks, the thread
// until only kFew are left.
constexpr std::size_t kMany = 3;
constexpr std::size_t kFew = 1;
static_assert(kFew < kMany && kMany < ReadAhead::kBlocks);

}  // namespace

ReadAhead::ReadAhead(Source& from) : from_(from) {
  for (Block& block : blocks_) {
    block.data.resize(kBlockSize);
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // Slower, and nothing else: not worth a failure.
  }
}

ReadAhead::~ReadAhead() {
  if (thread_.joinable()) {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
}

void ReadAhead::run() {
  try {
    while (wait_for_room()) {
      // No lock: block filled_ is this thread's until it is published.
      const auto got = from_.read(blocks_[filled_ % kBlocks].data);
      if (!got.is_ok() || *got == 0) {
        end(got.status());
        return;
      }
      publish(*got);
    }
  } catch (const std::exception& e) {
    end(Status::temporary("4.3.0", std::string("reading ahead in a parcel: ") + e.what()));
  }
}

bool ReadAhead::wait_for_room() {
  std::unique_lock lock(mutex_);
  if (filled_ - emptied_ == kBlocks) {
    changed_.wait(lock, [this] { return stop_ || filled_ - emptied_ <= kFew; });
  }
  return !stop_;
}

void ReadAhead::publish(std::size_t size) {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    blocks_[filled_ % kBlocks].size = size;
    ++filled_;
    wake = filled_ - emptied_ >= kMany;
  }
  if (wake) {
    changed_.notify_one();
  }
}

void ReadAhead::end(Status status) {
  {
    const std::scoped_lock lock(mutex_);
    status_ = std::move(status);
    ended_ = true;
  }
  changed_.notify_one();
}

// Waits for block emptied_. False when none comes any more.
bool ReadAhead::wait_for_block() {
  std::unique_lock lock(mutex_);
  if (filled_ == emptied_) {
    changed_.wait(lock, [this] { return ended_ || filled_ - emptied_ >= kMany; });
  }
  available_ = filled_;
  return available_ != emptied_;
}

void ReadAhead::give_back() {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    ++emptied_;
    wake = filled_ - emptied_ <= kFew;
  }
  if (wake) {
    changed_.notify_one();
  }
  pos_ = 0;
}

Result<std::size_t> ReadAhead::read(std::span<char> out) {
  if (!thread_.joinable()) {
    return from_.read(out);
  }
  if (available_ == emptied_ && !wait_for_block()) {
    TRY(status_);  // the thread has ended: nobody else writes it
    return std::size_t{0};
  }
  const Block& block = blocks_[emptied_ % kBlocks];
  const std::size_t now = std::min(out.size(), block.size - pos_);
  std::copy_n(block.data.data() + pos_, now, out.data());
  pos_ += now;
  if (pos_ == block.size) {
    give_back();
  }
  return now;
}

}  // namespace bsmtp::parcel
