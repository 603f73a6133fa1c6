// The little MIME a parcel needs (RFC 2045, 2046 5.1, RFC 1847): media types, transfer encodings,
// and splitting a multipart by offsets, byte-exact, without changing or copying its parts.
// Strict where readings differ, so that nobody can show us other parts than the verifier saw:
// duplicate Content-* fields, a boundary followed by other text, a missing close delimiter are
// refused, permanent 5.6.0. Input must be CRLF (spool foreign text through CrlfNormaliser).
// Threads: one object, one thread; functions are pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/mail/header.h"

namespace bsmtp::mail {

struct MimeLimits {
  HeaderLimits header;
  std::size_t parts = 8;
  std::size_t params = 32;
};

// RFC 2046 5.1.1.
inline constexpr std::size_t kMaxBoundary = 70;

struct MediaType {
  std::string type;                                         // lower case
  std::string subtype;                                      // lower case
  std::vector<std::pair<std::string, std::string>> params;  // names lower case, values decoded

  // "multipart/signed", compared in lower case.
  bool is(std::string_view full) const;
  // nullptr when absent.
  const std::string* param(std::string_view name) const;
};

// A Content-Type value. Comments are skipped; unquoted values may hold '/' (PMDF's scripts write
// protocol=application/pgp-signature) but no other tspecial, blank or control. Duplicate
// parameters and trailing garbage are refused.
Result<MediaType> parse_media_type(std::string_view value, std::size_t max_params = 32);
// Content-Transfer-Encoding value, comments skipped, in lower case; "" -> "7bit".
Result<std::string> parse_transfer_encoding(std::string_view value);
// `value` as a parameter value: bare when it is a token, else a quoted-string.
std::string format_param_value(std::string_view value);
// 1-70 octets of RFC 2046 bchars, no trailing blank.
bool is_boundary(std::string_view text);

// The header block of one entity. Absent fields mean text/plain and 7bit.
struct EntityHeader {
  MediaType content_type;
  bool has_content_type = false;
  std::string transfer_encoding = "7bit";
  std::vector<HeaderField> fields;  // all of them
  std::uint64_t octets = 0;         // with the empty line

  const HeaderField* find(std::string_view name) const;
  std::size_t count(std::string_view name) const;
};
// From a scanner that is done() and kept all fields.
Result<EntityHeader> entity_header(const HeaderScanner& scanner);
// Reads the beginning of `source` (up to a block more than the header).
Result<EntityHeader> read_entity_header(Source& source, const HeaderLimits& limits = {});

// Offsets count from the first octet given to the Splitter plus its base.
struct Part {
  std::uint64_t begin = 0;  // after the CRLF of the delimiter line: what RFC 1847 signs from
  std::uint64_t body = 0;   // after the header's empty line
  std::uint64_t end = 0;    // before the CRLF that belongs to the next delimiter
  std::uint64_t next = 0;   // the next delimiter's first '-'; end + 2 (PMDF signs up to here)
  EntityHeader header;
};

// Feed it the body of a multipart (after its own header block). Nested multiparts are left
// alone: split them by their own Splitter over [body, end).
class Splitter final : public Sink {
 public:
  // `boundary` as the parameter gives it; `base` is added to all offsets.
  Splitter(std::string boundary, MimeLimits limits, std::uint64_t base = 0);
  Status write(std::string_view data) override;
  // Permanent 5.6.0 when the close delimiter has not been seen.
  Status finish() override;
  const std::vector<Part>& parts() const { return parts_; }
  std::vector<Part> take_parts() { return std::move(parts_); }

 private:
  std::size_t find_candidate(std::string_view data) const;
  Status take_candidate(std::string_view& data);
  Status pass(std::string_view data);
  Status end_part(std::uint64_t delimiter);
  Status delimiter_line();

  std::string delimiter_;  // "--" + boundary
  MimeLimits limits_;
  std::uint64_t offset_;  // of the next octet to be taken
  std::string line_;      // a possible delimiter line not yet complete
  bool at_line_start_ = true;
  bool after_cr_ = false;
  bool closed_ = false;
  bool in_part_ = false;
  std::vector<HeaderScanner> header_;  // of the current part; at most one
  std::vector<Part> parts_;
};

// All parts of the multipart body read from `source` to its end.
Result<std::vector<Part>> split_multipart(Source& source, std::string_view boundary,
                                          const MimeLimits& limits, std::uint64_t base = 0);

}  // namespace bsmtp::mail
