// libs: common/codec common/base
// The input as base64 and as quoted-printable: same result for any buffer, and what decodes as
// base64 encodes to the same text again (there is one encoding of anything). As octets: round trip.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/codec/base64.h"
#include "common/codec/quoted_printable.h"

namespace {

template <typename Decoder>
bsmtp::Result<std::string> decode(std::string_view data, std::size_t buffer) {
  bsmtp::StringSource from(data);
  Decoder decoder(from);
  std::string out;
  std::string block(buffer, '\0');
  for (;;) {
    TRY_ASSIGN(const std::size_t got, decoder.read(block));
    if (got == 0) {
      return out;
    }
    out.append(block, 0, got);
  }
}

template <typename Decoder>
bsmtp::Result<std::string> decode_both(std::string_view data) {
  const auto small = decode<Decoder>(data, 2);
  auto large = decode<Decoder>(data, 65536);
  BSMTP_CHECK(small.is_ok() == large.is_ok());
  BSMTP_CHECK(!small.is_ok() || *small == *large);
  return large;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto octets = decode_both<bsmtp::codec::Base64DecodeSource>(input);
  if (octets.is_ok()) {
    std::string text(input);
    std::erase(text, '\r');
    std::erase(text, '\n');
    BSMTP_CHECK(bsmtp::codec::base64_encode(*octets) == text);
  }
  BSMTP_CHECK(bsmtp::codec::base64_decode(bsmtp::codec::base64_encode(input)).value() == input);
  static_cast<void>(decode_both<bsmtp::codec::QuotedPrintableSource>(input));
  return 0;
}
