// Mail to a return address <user>+<token>@host: a bounce of one of our own parcels. It is kept
// as an item (spool/item.h) in inbound/returns/<id> for the dispatcher, which finds the parcel by
// the token in the recipient. Forged ones are the dispatcher's problem: nothing is decided here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

// Of a return only so much is kept; the machine-readable part of a DSN stands well before that.
inline constexpr std::uint64_t kMaxReturn = 1U << 20U;

// Reads `input` (LF or CRLF) to its end, keeps its head as text that an item can carry: octets
// that mail forbids become '?'. Returns the id, durable. All errors are temporary.
Result<std::string> store_return(const spool::Spool& spool, const std::string& sender,
                                 const std::string& recipient, Source& input, TimePoint now,
                                 const std::function<Status()>& before_rename);

}  // namespace bsmtp::mda
