#include "common/parcel/entity_body.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/codec/base64.h"
#include "common/codec/quoted_printable.h"

namespace bsmtp::parcel {

Result<mail::EntityHeader> EntityBody::read_header(const mail::HeaderLimits& limits) {
  mail::HeaderScanner::Options options;
  options.limits = limits;
  mail::HeaderScanner scanner(std::move(options));
  std::uint64_t before = 0;  // octets in blocks before the current one
  bool first = true;
  while (!scanner.done()) {
    before += end_;
    TRY_ASSIGN(end_, from_.read(block_));
    if (end_ == 0) {
      return Status::permanent("5.6.0", "the data end inside a header");
    }
    const std::string_view data(block_.data(), end_);
    if (first) {
      const std::size_t lf = data.find('\n');
      lf_lines_ = lf != std::string_view::npos && (lf == 0 || data[lf - 1] != '\r');
      first = false;
    }
    TRY(scanner.write(data));
  }
  if (scanner.ended_by_junk()) {
    return Status::permanent("5.6.0", "a header is not ended by an empty line");
  }
  pos_ = scanner.block_octets() - before;
  return mail::entity_header(scanner);
}

Result<std::size_t> EntityBody::read(std::span<char> out) {
  if (pos_ == end_) {
    return from_.read(out);
  }
  const std::size_t now = std::min(out.size(), end_ - pos_);
  std::copy_n(block_.data() + pos_, now, out.data());
  pos_ += now;
  return now;
}

Result<DecodedBody> DecodedBody::make(Source& from, std::string_view encoding) {
  DecodedBody body(from);
  if (encoding == "base64") {
    body.decoder_ = std::make_unique<codec::Base64DecodeSource>(from);
  } else if (encoding == "quoted-printable") {
    body.decoder_ = std::make_unique<codec::QuotedPrintableSource>(from);
  } else if (encoding != "7bit" && encoding != "8bit" && encoding != "binary") {
    return Status::permanent("5.6.0",
                             "unknown Content-Transfer-Encoding " + printable(encoding, 40));
  }
  return body;
}

}  // namespace bsmtp::parcel
