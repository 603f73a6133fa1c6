// libs: mda/dispatch
// Bounces come from anybody: parsing one must neither crash nor give an action with line ends.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "mda/dispatch/returns.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bsmtp::StringSource source(std::string_view(reinterpret_cast<const char*>(data), size));
  const auto report = bsmtp::mda::parse_return(source);
  if (report.is_ok() && report->has_value() &&
      ((*report)->action.find('\n') != std::string::npos ||
       (*report)->status.find('\n') != std::string::npos)) {
    std::abort();
  }
  return 0;
}
