// libs: common/codec common/base
// The input as gzip data: whatever it is, no more comes out than the limits allow, and the result
// does not depend on the reader's buffer; what zlib reads, the fast engine reads the same. The
// input as plain text: round trip by both.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/codec/gzip.h"

namespace {

using bsmtp::codec::InflateEngine;

bsmtp::Result<std::string> unpack(std::string_view data, std::size_t buffer,
                                  InflateEngine engine = InflateEngine::kZlib) {
  bsmtp::codec::InflateLimits limits;
  limits.max_bytes = 1U << 20U;
  limits.free_bytes = 1U << 12U;
  limits.max_ratio = 100;
  bsmtp::StringSource from(data);
  bsmtp::codec::GunzipSource gunzip(from, limits, engine);
  std::string out;
  std::string block(buffer, '\0');
  for (;;) {
    TRY_ASSIGN(const std::size_t got, gunzip.read(block));
    if (got == 0) {
      return out;
    }
    out.append(block, 0, got);
    BSMTP_CHECK(out.size() <= limits.max_bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto small = unpack(input, 7);
  const auto large = unpack(input, 65536);
  // A ratio is judged at the end of each read, so only good data must agree.
  if (small.is_ok() && large.is_ok()) {
    BSMTP_CHECK(*small == *large);
  }
  const auto fast_small = unpack(input, 7, InflateEngine::kFast);
  const auto fast_large = unpack(input, 65536, InflateEngine::kFast);
  if (fast_small.is_ok() && fast_large.is_ok()) {
    BSMTP_CHECK(*fast_small == *fast_large);
  }
  if (large.is_ok()) {
    BSMTP_CHECK(fast_large.is_ok() && *fast_large == *large);
  }
  bsmtp::StringSink packed(1U << 22U);
  bsmtp::codec::GzipSink gzip(packed);
  BSMTP_CHECK(gzip.write(input).is_ok() && gzip.finish().is_ok());
  if (size < 4096) {
    BSMTP_CHECK(unpack(packed.str(), 1000).value() == input);
    BSMTP_CHECK(unpack(packed.str(), 1000, InflateEngine::kFast).value() == input);
  }
  return 0;
}
