// Files, ranges of files and plain descriptors as Source and Sink. Sinks collect kBlockSize
// octets before they call write(2), so that a small message costs one call; finish() writes the
// rest and neither fsyncs nor closes. Memory: one block each. Threads: one stream, one thread.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/stream.h"
#include "common/os/file_ops.h"

namespace bsmtp::os {

// From the file's current offset to its end. The file and ops must outlive it.
class FileSource final : public Source {
 public:
  FileSource(FileOps& ops, File& file) : ops_(ops), file_(file) {}
  Result<std::size_t> read(std::span<char> out) override { return ops_.read(file_, out); }

 private:
  FileOps& ops_;
  File& file_;
};

// `length` octets from `offset`, by pread: several can read one file. A file that ends early is
// a temporary 4.3.0: a range was promised by whoever wrote the file.
class RangeSource final : public Source {
 public:
  RangeSource(FileOps& ops, const File& file, std::uint64_t offset, std::uint64_t length)
      : ops_(ops), file_(file), offset_(offset), left_(length) {}
  Result<std::size_t> read(std::span<char> out) override;

 private:
  FileOps& ops_;
  const File& file_;
  std::uint64_t offset_;
  std::uint64_t left_;
};

// Owns the file it reads.
class OwnedFileSource final : public Source {
 public:
  OwnedFileSource(FileOps& ops, File file) : ops_(ops), file_(std::move(file)) {}
  Result<std::size_t> read(std::span<char> out) override { return ops_.read(file_, out); }

 private:
  FileOps& ops_;
  File file_;
};

// Buffered; the destructor does not write what is left (an unfinished file is abandoned).
class FileSink final : public Sink {
 public:
  enum class Writeback { kLater, kEarly };  // kEarly: the file is fsynced as soon as it is complete
  FileSink(FileOps& ops, File& file, Writeback writeback = Writeback::kLater)
      : ops_(ops), file_(file), writeback_(writeback) {}
  Status write(std::string_view data) override;
  Status finish() override;
  std::uint64_t count() const { return count_; }  // octets taken so far

 private:
  Status write_blocks(std::string_view data);

  FileOps& ops_;
  File& file_;
  Writeback writeback_;
  std::string buffer_;
  std::uint64_t count_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t started_ = 0;  // octets whose writeback has been asked for
};

// A pipe, terminal or socket that someone else owns (standard input and output).
class FdSource final : public Source {
 public:
  FdSource(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<std::size_t> read(std::span<char> out) override;

 private:
  int fd_;
  std::string name_;
};

class FdSink final : public Sink {
 public:
  FdSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Status write(std::string_view data) override;
  Status finish() override;

 private:
  int fd_;
  std::string name_;
  std::string buffer_;
};

// The same without a buffer: every write is on its way when it returns.
class UnbufferedFdSink final : public Sink {
 public:
  UnbufferedFdSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Status write(std::string_view data) override;

 private:
  int fd_;
  std::string name_;
};

}  // namespace bsmtp::os
