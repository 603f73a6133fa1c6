// gzip (RFC 1952) as streaming filters: GzipSink compresses, GunzipSource expands under limits.
// Constant memory (about 300 KiB to pack, 160 KiB to open). Only this module uses zlib and ISA-L.
// The output is deterministic: one member, no name, time 0. The reader takes several members
// (RFC 1952 2.2 allows them), refuses everything behind the last, and stops a decompression
// bomb at the limit before the octets reach its caller.
// Failure: bad data 5.6.0, over a limit 5.3.4 (both permanent); no memory 4.3.0.
#pragma once

#include <cstdint>
#include <memory>

#include "common/base/stream.h"

namespace bsmtp::codec {

class GzipSink final : public Sink {
 public:
  // Level 1..9 (measured default 6: docs/performance.md).
  explicit GzipSink(Sink& next, int level = 6);
  ~GzipSink() override;
  GzipSink(const GzipSink&) = delete;
  GzipSink& operator=(const GzipSink&) = delete;

  Status write(std::string_view data) override;
  // Writes the member's end; does not finish `next`.
  Status finish() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct InflateLimits {
  std::uint64_t max_bytes = 1ULL << 30U;  // octets that may come out
  // Out : in, once free_bytes have come out. Deflate itself reaches 1032, and so does honest mail
  // (logs, attachments full of zeros).
  std::uint64_t max_ratio = 1100;
  std::uint64_t free_bytes = 1ULL << 20U;
};

enum class InflateEngine {
  kZlib,
  // ISA-L where this was built with it, else zlib: more than twice as fast, but its decoder is
  // assembly. Only for data from a sender who is known (docs/decisions/0005-isal.md).
  kFast,
};

class GunzipSource final : public Source {
 public:
  GunzipSource(Source& from, const InflateLimits& limits,
               InflateEngine engine = InflateEngine::kZlib);
  ~GunzipSource() override;
  GunzipSource(const GunzipSource&) = delete;
  GunzipSource& operator=(const GunzipSource&) = delete;

  // 0 only when a member ended exactly where the input did. An empty input is bad data.
  Result<std::size_t> read(std::span<char> out) override;
  std::uint64_t octets_in() const;
  std::uint64_t octets_out() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bsmtp::codec
