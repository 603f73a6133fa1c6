// The frame of multipart/signed (RFC 1847, RFC 3156 5) as parcels and receipts have it: text before
// and behind the signed part. Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace bsmtp::parcel {

// Header, empty line and first delimiter: the signed part follows at once.
std::string signed_begin(std::string_view boundary);
// What follows the part, which ends with a CRLF of its own. `signature`: armoured.
std::string signed_end(std::string_view boundary, std::string_view signature);

}  // namespace bsmtp::parcel
