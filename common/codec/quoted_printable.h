// Quoted-printable (RFC 2045 6.7), reading only: an MTA on the way may have turned an old
// peer's 8bit batch into it (RFC 2442 allows any encoding). Strict: a bad escape is bad data
// (permanent 5.6.0); blanks before a line end are transport padding and removed, as the RFC
// demands. Line ends come out as they came in.
#pragma once

#include <string>
#include <vector>

#include "common/base/stream.h"

namespace bsmtp::codec {

class QuotedPrintableSource final : public Source {
 public:
  explicit QuotedPrintableSource(Source& from);
  Result<std::size_t> read(std::span<char> out) override;

 private:
  Status decode_line(std::string_view line, std::string_view end);
  Status fill();

  Source& from_;
  std::vector<char> in_;
  std::string line_;  // octets of the line being collected
  std::string out_;
  std::size_t out_pos_ = 0;
  bool at_end_ = false;
};

}  // namespace bsmtp::codec
