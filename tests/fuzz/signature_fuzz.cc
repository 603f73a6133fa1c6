// libs: common/crypto common/base
// Any signature part: read_signature() refuses it, or names packets that gpg may see.
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/crypto/signature_packets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto packets = bsmtp::crypto::read_signature({reinterpret_cast<const char*>(data), size});
  if (packets.is_ok()) {
    BSMTP_CHECK(!packets->heads.empty() && !packets->binary.empty());
  } else {
    BSMTP_CHECK(packets.status().is_permanent());
  }
  return 0;
}
