// libs: common/parcel common/base
// What parses as a manifest can be written, and reads the same again.
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/parcel/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto manifest = bsmtp::parcel::parse_manifest(input);
  if (!manifest.is_ok()) {
    BSMTP_CHECK(manifest.status().is_permanent());
    return 0;
  }
  const auto text = bsmtp::parcel::format_manifest(*manifest);
  BSMTP_CHECK(text.is_ok());
  const auto again = bsmtp::parcel::parse_manifest(*text);
  BSMTP_CHECK(again.is_ok() && again->id == manifest->id && again->from == manifest->from &&
              again->to == manifest->to && again->created == manifest->created &&
              again->expires == manifest->expires && again->receipt == manifest->receipt);
  return 0;
}
