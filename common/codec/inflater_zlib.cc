#include <zlib.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/codec/inflater.h"

namespace bsmtp::codec {
namespace {

constexpr int kGzipWindow = 15 + 16;      // the largest window; 16 asks zlib for gzip's wrapper
constexpr std::size_t kMost = 1U << 30U;  // zlib counts with 32 bits

class ZlibInflater final : public Inflater {
 public:
  ZlibInflater() : usable_(inflateInit2(&stream_, kGzipWindow) == Z_OK) {}
  ~ZlibInflater() override { inflateEnd(&stream_); }
  ZlibInflater(const ZlibInflater&) = delete;
  ZlibInflater& operator=(const ZlibInflater&) = delete;

  State begin_member() override {
    if (!usable_) {
      return State::kNoMemory;
    }
    BSMTP_CHECK(inflateReset(&stream_) == Z_OK);
    return State::kMore;
  }

  State step(std::string_view& in, std::span<char> out, std::size_t& made) override {
    const auto given = static_cast<uInt>(std::min(in.size(), kMost));
    const auto room = static_cast<uInt>(std::min(out.size(), kMost));
    // zlib's input pointer is not const for historical reasons; it never writes there.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));  // NOLINT
    stream_.avail_in = given;
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());  // NOLINT
    stream_.avail_out = room;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    made = room - stream_.avail_out;
    in.remove_prefix(given - stream_.avail_in);
    switch (code) {
      case Z_OK:
      case Z_BUF_ERROR:  // it could do nothing without more input
        return State::kMore;
      case Z_STREAM_END:
        return State::kMemberEnd;
      case Z_MEM_ERROR:
        return State::kNoMemory;
      default:
        return State::kDamaged;
    }
  }

 private:
  z_stream stream_{};
  bool usable_;
};

}  // namespace

std::unique_ptr<Inflater> zlib_inflater() {
  return std::make_unique<ZlibInflater>();
}

}  // namespace bsmtp::codec
