// libs: common/spool common/base
// The text of state, meta and receipt files: what is read is written again as the same, and no
// name of a directory or record leads anywhere else.
#include "common/spool/accepted.h"
#include "common/spool/fields.h"
#include "common/spool/receipt_record.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;

void check_name(std::string_view text) {
  if (const auto name = spool::parse_accepted_directory_name(text)) {
    FUZZ_CHECK(spool::accepted_directory_name(name->peer, name->parcel_id) == text);
    FUZZ_CHECK(text.find('/') == std::string_view::npos && !text.starts_with('.'));
  }
  if (const auto name = spool::parse_asked_record_name(text)) {
    FUZZ_CHECK(text.starts_with(name->peer + "." + name->parcel_id + "."));
    FUZZ_CHECK(text.find('/') == std::string_view::npos && !text.starts_with('.'));
  }
}

// What parse accepts, format writes, and that reads as the same again.
template <typename Parse, typename Format>
void round_trip(std::string_view text, Parse parse, Format format) {
  const auto first = parse(text, "file");
  if (!first.is_ok()) {
    FUZZ_CHECK(first.status().is_temporary());
    return;
  }
  const auto written = format(*first);
  FUZZ_CHECK(written.is_ok());
  const auto again = parse(*written, "file");
  FUZZ_CHECK(again.is_ok() && *format(*again) == *written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  check_name(text);
  round_trip(text, spool::Fields::parse,
             [](const spool::Fields& fields) { return Result<std::string>(fields.format()); });
  round_trip(text, spool::parse_accepted_meta, spool::format_accepted_meta);
  round_trip(text, spool::parse_receipt_record, spool::format_receipt_record);
  round_trip(text, spool::parse_asked_record, spool::format_asked_record);
  return 0;
}
