#include "common/codec/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <vector>

#include "common/base/check.h"

namespace bsmtp::codec {
namespace {

constexpr int kWindowBits = 15;
constexpr int kGzipWrapper = 16;  // added to the window bits: zlib writes and reads gzip headers
constexpr int kMemoryLevel = 8;

// zlib's input pointer is not const for historical reasons; it never writes there.
Bytef* input_pointer(const char* data) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data));  // NOLINT
}

Bytef* output_pointer(char* data) {
  return reinterpret_cast<Bytef*>(data);  // NOLINT
}

Status no_memory() {
  return Status::temporary("4.3.0", "zlib has no memory for a compression state; try again later");
}

}  // namespace

struct GzipSink::Impl {
  explicit Impl(Sink& sink) : next(sink), out(kBlockSize) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { deflateEnd(&stream); }

  Status run(int flush) {
    int code = Z_OK;
    do {
      stream.next_out = output_pointer(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      code = deflate(&stream, flush);
      BSMTP_CHECK(code != Z_STREAM_ERROR);
      TRY(next.write({out.data(), out.size() - stream.avail_out}));
    } while (stream.avail_out == 0 || (flush == Z_FINISH && code != Z_STREAM_END));
    return Status::ok();
  }

  Sink& next;
  std::vector<char> out;
  z_stream stream{};
  bool usable = false;
};

GzipSink::GzipSink(Sink& next, int level) : impl_(std::make_unique<Impl>(next)) {
  // The default header of deflateInit2's gzip wrapper has no name and time 0 (zlib.h).
  impl_->usable =
      deflateInit2(&impl_->stream, std::clamp(level, 1, 9), Z_DEFLATED, kWindowBits + kGzipWrapper,
                   kMemoryLevel, Z_DEFAULT_STRATEGY) == Z_OK;
}

GzipSink::~GzipSink() = default;

Status GzipSink::write(std::string_view data) {
  if (!impl_->usable) {
    return no_memory();
  }
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, 1U << 30U);  // avail_in has 32 bits
    impl_->stream.next_in = input_pointer(piece.data());
    impl_->stream.avail_in = static_cast<uInt>(piece.size());
    TRY(impl_->run(Z_NO_FLUSH));
    data.remove_prefix(piece.size());
  }
  return Status::ok();
}

Status GzipSink::finish() {
  if (!impl_->usable) {
    return no_memory();
  }
  impl_->stream.avail_in = 0;
  return impl_->run(Z_FINISH);
}

struct GunzipSource::Impl {
  Impl(Source& source, const InflateLimits& caps) : from(source), limits(caps), in(kBlockSize) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { inflateEnd(&stream); }

  Status fill() {
    TRY_ASSIGN(const std::size_t got, from.read(in));
    at_end = got == 0;
    total_in += got;
    stream.next_in = input_pointer(in.data());
    stream.avail_in = static_cast<uInt>(got);
    return Status::ok();
  }
  // The most octets that may still come out for what has gone in.
  std::uint64_t allowance() const {
    const std::uint64_t consumed = total_in - stream.avail_in;
    const std::uint64_t by_ratio =
        consumed > limits.max_bytes / std::max<std::uint64_t>(limits.max_ratio, 1)
            ? limits.max_bytes
            : consumed * limits.max_ratio;
    return std::min(limits.max_bytes, std::max(limits.free_bytes, by_ratio));
  }
  // One inflate() call into `out`; how many octets came out.
  Result<std::size_t> step(std::span<char> out);
  Status check_caps(std::size_t made);

  Source& from;
  InflateLimits limits;
  std::vector<char> in;
  z_stream stream{};
  bool usable = false;
  bool at_end = false;
  bool between_members = true;
  bool any_member = false;
  std::uint64_t total_in = 0;
  std::uint64_t total_out = 0;
};

Status GunzipSource::Impl::check_caps(std::size_t made) {
  total_out += made;
  if (total_out <= allowance()) {
    return Status::ok();
  }
  return Status::permanent(
      "5.3.4",
      "compressed data expand to more than " +
          (total_out > limits.max_bytes ? std::to_string(limits.max_bytes) + " octets"
                                        : std::to_string(limits.max_ratio) + " times their size") +
          ", the limit for one parcel");
}

Result<std::size_t> GunzipSource::Impl::step(std::span<char> out) {
  stream.next_out = output_pointer(out.data());
  stream.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), 1U << 30U));
  const uInt room = stream.avail_out;
  const int code = inflate(&stream, Z_NO_FLUSH);
  const std::size_t made = room - stream.avail_out;
  if (code == Z_MEM_ERROR) {
    return no_memory();
  }
  if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
    return Status::permanent("5.6.0", any_member && stream.total_out == 0
                                          ? "octets stand behind the end of the compressed data"
                                          : "compressed data are damaged");
  }
  TRY(check_caps(made));
  if (code == Z_STREAM_END) {
    any_member = true;
    between_members = true;
  }
  return made;
}

GunzipSource::GunzipSource(Source& from, const InflateLimits& limits)
    : impl_(std::make_unique<Impl>(from, limits)) {
  impl_->usable = inflateInit2(&impl_->stream, kWindowBits + kGzipWrapper) == Z_OK;
}

GunzipSource::~GunzipSource() = default;

Result<std::size_t> GunzipSource::read(std::span<char> out) {
  Impl& z = *impl_;
  if (!z.usable) {
    return no_memory();
  }
  for (;;) {
    if (z.stream.avail_in == 0 && !z.at_end) {
      TRY(z.fill());
    }
    if (z.between_members) {
      if (z.stream.avail_in == 0 && z.at_end) {
        if (!z.any_member) {
          return Status::permanent("5.6.0", "compressed data are empty");
        }
        return std::size_t{0};
      }
      // Another member begins (RFC 1952 2.2), or garbage, which inflate() will call damaged.
      BSMTP_CHECK(inflateReset(&z.stream) == Z_OK);
      z.between_members = false;
    }
    TRY_ASSIGN(const std::size_t made, z.step(out));
    if (made > 0) {
      return made;
    }
    if (z.at_end && z.stream.avail_in == 0 && !z.between_members) {
      return Status::permanent("5.6.0", "compressed data end too early");
    }
  }
}

std::uint64_t GunzipSource::octets_in() const {
  return impl_->total_in - impl_->stream.avail_in;
}

std::uint64_t GunzipSource::octets_out() const {
  return impl_->total_out;
}

}  // namespace bsmtp::codec
