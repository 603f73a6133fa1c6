#include "common/codec/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <vector>

#include "common/base/check.h"
#include "common/codec/inflater.h"

namespace bsmtp::codec {
namespace {

constexpr int kWindowBits = 15;
constexpr int kGzipWrapper = 16;  // added to the window bits: zlib writes and reads gzip headers
constexpr int kMemoryLevel = 8;

// zlib's input pointer is not const for historical reasons; it never writes there.
Bytef* input_pointer(const char* data) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data));  // NOLINT
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
      stream.next_out = reinterpret_cast<Bytef*>(out.data());  // NOLINT
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
  Impl(Source& source, const InflateLimits& caps, InflateEngine engine)
      : from(source), limits(caps), block(kBlockSize) {
    if (engine == InflateEngine::kFast) {
      inflater = isal_inflater();
    }
    if (inflater == nullptr) {
      inflater = zlib_inflater();
    }
  }

  Status fill() {
    TRY_ASSIGN(const std::size_t got, from.read(block));
    at_end = got == 0;
    total_in += got;
    in = {block.data(), got};
    return Status::ok();
  }
  // The most octets that may still come out for what has gone in.
  std::uint64_t allowance() const {
    const std::uint64_t consumed = total_in - in.size();
    const std::uint64_t by_ratio =
        consumed > limits.max_bytes / std::max<std::uint64_t>(limits.max_ratio, 1)
            ? limits.max_bytes
            : consumed * limits.max_ratio;
    return std::min(limits.max_bytes, std::max(limits.free_bytes, by_ratio));
  }
  // One step of the inflater into `out`; how many octets came out.
  Result<std::size_t> step(std::span<char> out);
  Status check_caps() const;

  Source& from;
  InflateLimits limits;
  std::unique_ptr<Inflater> inflater;
  std::vector<char> block;
  std::string_view in;  // of the block, not yet consumed
  bool at_end = false;
  bool between_members = true;
  bool any_member = false;
  std::uint64_t total_in = 0;
  std::uint64_t total_out = 0;
  std::uint64_t member_out = 0;
};

Status GunzipSource::Impl::check_caps() const {
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
  std::size_t made = 0;
  const Inflater::State state = inflater->step(in, out, made);
  member_out += made;
  if (state == Inflater::State::kNoMemory) {
    return no_memory();
  }
  if (state == Inflater::State::kDamaged) {
    return Status::permanent("5.6.0", any_member && member_out == 0
                                          ? "octets stand behind the end of the compressed data"
                                          : "compressed data are damaged");
  }
  total_out += made;
  TRY(check_caps());
  if (state == Inflater::State::kMemberEnd) {
    any_member = true;
    between_members = true;
  }
  return made;
}

GunzipSource::GunzipSource(Source& from, const InflateLimits& limits, InflateEngine engine)
    : impl_(std::make_unique<Impl>(from, limits, engine)) {}

GunzipSource::~GunzipSource() = default;

Result<std::size_t> GunzipSource::read(std::span<char> out) {
  Impl& z = *impl_;
  for (;;) {
    if (z.in.empty() && !z.at_end) {
      TRY(z.fill());
    }
    if (z.between_members) {
      if (z.in.empty() && z.at_end) {
        if (!z.any_member) {
          return Status::permanent("5.6.0", "compressed data are empty");
        }
        return std::size_t{0};
      }
      // Another member begins (RFC 1952 2.2), or garbage, which the inflater will call damaged.
      if (z.inflater->begin_member() == Inflater::State::kNoMemory) {
        return no_memory();
      }
      z.between_members = false;
      z.member_out = 0;
    }
    TRY_ASSIGN(const std::size_t made, z.step(out));
    if (made > 0) {
      return made;
    }
    if (z.at_end && z.in.empty() && !z.between_members) {
      return Status::permanent("5.6.0", "compressed data end too early");
    }
  }
}

std::uint64_t GunzipSource::octets_in() const {
  return impl_->total_in - impl_->in.size();
}

std::uint64_t GunzipSource::octets_out() const {
  return impl_->total_out;
}

}  // namespace bsmtp::codec
