// libs: common/rewrite common/mail common/base
// The input as a diverted address and as local@domain: what decodes encodes again to an address
// that decodes to the same; what encodes decodes to what went in, and is safe on a command line.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/mail/address.h"
#include "common/rewrite/tunnel_address.h"

using bsmtp::rewrite::decode_tunnel;
using bsmtp::rewrite::encode_tunnel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto decoded = decode_tunnel(input); decoded.is_ok()) {
    const auto again =
        encode_tunnel(decoded->local, decoded->domain, decoded->peer, decoded->never);
    // Quoting may make the wire form longer than the dequoted one that came in.
    if (again.is_ok()) {
      const auto back = decode_tunnel(again.value());
      BSMTP_CHECK(back.is_ok() && back->address() == decoded->address());
      BSMTP_CHECK(back->peer == decoded->peer && back->never == decoded->never);
    } else {
      BSMTP_CHECK(again.status().text().find("too long") != std::string::npos);
    }
  }
  const auto parts = bsmtp::mail::split_address(input);
  if (const auto encoded = encode_tunnel(parts.local, parts.domain, "remote1"); encoded.is_ok()) {
    BSMTP_CHECK(encoded->size() <= bsmtp::rewrite::kMaxDiverted);
    BSMTP_CHECK(bsmtp::mail::is_safe_path(encoded.value()));
    const auto back = decode_tunnel(encoded.value());
    BSMTP_CHECK(back.is_ok());
    BSMTP_CHECK(bsmtp::mail::dequote_local(back->local) == bsmtp::mail::dequote_local(parts.local));
    BSMTP_CHECK(back->domain == bsmtp::mail::strip_trailing_dot(parts.domain));
  }
  return 0;
}
