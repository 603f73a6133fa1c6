// EntityBody: reads the header block of an entity from a stream and then is the Source of what
// follows, without losing an octet between. DecodedBody undoes a transfer encoding.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/stream.h"
#include "common/mail/mime.h"

namespace bsmtp::parcel {

class EntityBody final : public Source {
 public:
  explicit EntityBody(Source& from) : from_(from), block_(kBlockSize) {}
  // Called once, first. Permanent 5.6.0 for anything that is no clean header block.
  Result<mail::EntityHeader> read_header(const mail::HeaderLimits& limits);
  // The header's first line ended in LF alone.
  bool lf_lines() const { return lf_lines_; }
  Result<std::size_t> read(std::span<char> out) override;

 private:
  Source& from_;
  std::vector<char> block_;
  std::size_t pos_ = 0;
  std::size_t end_ = 0;
  bool lf_lines_ = false;
};

// `from` without its transfer encoding: 7bit, 8bit, binary (then `from` itself is read), base64 or
// quoted-printable. Permanent 5.6.0 for another one.
class DecodedBody {
 public:
  static Result<DecodedBody> make(Source& from, std::string_view encoding);
  Source& source() { return decoder_ != nullptr ? *decoder_ : *from_; }

 private:
  explicit DecodedBody(Source& from) : from_(&from) {}
  Source* from_;
  std::unique_ptr<Source> decoder_;
};

}  // namespace bsmtp::parcel
