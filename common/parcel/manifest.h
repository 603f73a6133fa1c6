// The manifest: what a native parcel says about itself under its signature, one header field
//   BSMTP-Parcel: v=1; id=..; from=hub.domain.com; to=athena.domain.co.uk; t=..; x=..; rr=0
// in DKIM's tag-list syntax (RFC 6376 3.2). A tag that occurs twice is refused, an unknown one
// ignored unless crit= names it. Grammar, meaning and refusals: docs/parcel-format.md.
// Failure: permanent 5.6.0 naming the tag. Threads: values.
#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::parcel {

enum class Receipt { kNone = 0, kWanted = 1, kWantedNow = 2 };

struct Manifest {
  std::string id;    // common/base/id.h
  std::string from;  // gateway host of the sender, lower case
  std::string to;    // gateway host of the receiver, lower case
  TimePoint created{};
  TimePoint expires{};  // at most 30 days after created
  Receipt receipt = Receipt::kNone;
};

// The field's value, folded by CRLF + blank, without the name and the last CRLF. Temporary 4.3.5
// for a manifest that parse_manifest would refuse (a host name in capitals, say).
Result<std::string> format_manifest(const Manifest& manifest);
// The field's value, folded or not.
Result<Manifest> parse_manifest(std::string_view value);

}  // namespace bsmtp::parcel
