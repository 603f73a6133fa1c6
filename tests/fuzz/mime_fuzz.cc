// libs: common/mail common/base
// Media types and multipart splitting: offsets lie in order inside the input, delimit what they
// claim to, and do not depend on how the input is cut.
#include "common/mail/mime.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;
using namespace bsmtp::mail;

struct Seen {
  bool ok = true;
  std::vector<Part> parts;
};

Seen look(std::string_view text, std::size_t step) {
  Seen seen;
  MimeLimits limits;
  limits.header = {1024, 20};
  Splitter splitter("b", limits);
  for (std::size_t i = 0; i < text.size() && seen.ok; i += step) {
    seen.ok = splitter.write(text.substr(i, step)).is_ok();
  }
  seen.ok = seen.ok && splitter.finish().is_ok();
  seen.parts = splitter.take_parts();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(data, size);
  const Seen whole = look(text, size + 1);
  for (const std::size_t step : {1U, 3U}) {
    const Seen cut = look(text, step);
    FUZZ_CHECK(cut.ok == whole.ok);
    if (!whole.ok) continue;
    FUZZ_CHECK(cut.parts.size() == whole.parts.size());
    for (std::size_t i = 0; i < whole.parts.size(); ++i) {
      FUZZ_CHECK(cut.parts[i].begin == whole.parts[i].begin);
      FUZZ_CHECK(cut.parts[i].body == whole.parts[i].body);
      FUZZ_CHECK(cut.parts[i].end == whole.parts[i].end);
    }
  }
  if (whole.ok) {
    std::uint64_t last = 0;
    for (const Part& part : whole.parts) {
      FUZZ_CHECK(last <= part.begin && part.begin <= part.body && part.body <= part.end);
      FUZZ_CHECK(part.end + 2 == part.next && part.next + 3 <= size);
      FUZZ_CHECK(text.substr(part.end, 5) == "\r\n--b");
      FUZZ_CHECK(text.substr(part.begin - 1, 1) == "\n");
      last = part.next;
    }
  }
  if (const auto type = parse_media_type(text); type.is_ok()) {
    std::string again = type->type + "/" + type->subtype;
    for (const auto& [name, value] : type->params) {
      again += "; " + name + "=" + format_param_value(value);
    }
    const auto second = parse_media_type(again);
    FUZZ_CHECK(second.is_ok() && second->params == type->params);
  }
  if (parse_transfer_encoding(text).is_ok()) {
    FUZZ_CHECK(!parse_transfer_encoding(text)->empty());
  }
  StringSource source(text);
  if (const auto header = read_entity_header(source, {4096, 50}); header.is_ok()) {
    FUZZ_CHECK(header->octets <= size);
  }
  return 0;
}
