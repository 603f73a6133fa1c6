// First reading of the items: proves each of them, learns what the headers in front of the batch
// must say, and decides how many go into this parcel, so that the peer's limits (Limits in
// format.h) cannot refuse it. Writes nothing. Private to the builder.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/status.h"
#include "common/bsmtp/extensions.h"
#include "common/parcel/builder.h"

namespace bsmtp::parcel {

struct Survey {
  std::size_t items = 0;  // the first so many fit; at least one
  batch::Requirements requirements;
  bool has_8bit = false;
  std::uint64_t longest_line = 0;
};

// Failures: as build().
Result<Survey> survey_items(const BuildRequest& request, std::size_t* bad_item);

// Most recipients of one transaction.
std::size_t recipients_at_once(const BuildRequest& request);

// Whether the batch travels in gzip.
bool compresses(const BuildRequest& request);

}  // namespace bsmtp::parcel
