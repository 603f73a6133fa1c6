// Source and Sink: the two ends every streaming filter of the suite is built from. Filters
// nest (a GzipSink holds the next Sink); none keeps more than a fixed buffer. A Sink's finish()
// flushes what it holds and is called exactly once after the last write; it does not finish the
// sink behind it unless the filter's comment says so. Threads: one stream, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp {

inline constexpr std::size_t kBlockSize = 65536;

class Source {
 public:
  virtual ~Source() = default;
  // Fills at most out.size() octets and returns how many; 0 only at the end.
  virtual Result<std::size_t> read(std::span<char> out) = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual Status write(std::string_view data) = 0;
  virtual Status finish() { return Status::ok(); }
};

// A view as a Source; the octets must outlive it.
class StringSource final : public Source {
 public:
  explicit StringSource(std::string_view data) : data_(data) {}
  Result<std::size_t> read(std::span<char> out) override;

 private:
  std::string_view data_;
};

// Collects at most `limit` octets; more is a permanent 5.3.4.
class StringSink final : public Sink {
 public:
  explicit StringSink(std::size_t limit = 1U << 20U) : limit_(limit) {}
  Status write(std::string_view data) override;
  const std::string& str() const { return data_; }
  std::string take() { return std::move(data_); }

 private:
  std::size_t limit_;
  std::string data_;
};

// Counts the octets passed on to `next` (may be null: then only counts).
class CountingSink final : public Sink {
 public:
  explicit CountingSink(Sink* next) : next_(next) {}
  Status write(std::string_view data) override;
  std::uint64_t count() const { return count_; }

 private:
  Sink* next_;
  std::uint64_t count_ = 0;
};

// Collects small writes into blocks of kBlockSize octets before `next` sees them (a file sink pays
// a system call per write); larger writes to an empty buffer pass through uncopied. finish()
// flushes, and does not finish `next`. Octets not flushed when it is destroyed are lost.
class BufferedSink final : public Sink {
 public:
  explicit BufferedSink(Sink& next) : next_(next) {}
  Status write(std::string_view data) override;
  Status finish() override { return flush(); }
  Status flush();

 private:
  Sink& next_;
  std::string buffer_;  // grows to kBlockSize once
};

// From the source's current place to its end; returns the octets copied.
Result<std::uint64_t> copy(Source& from, Sink& to);

}  // namespace bsmtp
