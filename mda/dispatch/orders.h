// Carrying out what an admin ordered about single parcels (common/spool/order.h). An order that
// fits the parcel no more is logged and forgotten. Safe to repeat.
// Failure: temporary; the order stays. Threads: one at a time.
#pragma once

#include <string>
#include <vector>

#include "mda/dispatch/acknowledge.h"

namespace bsmtp::mda {

Status handle_orders(SubmitContext& context, const std::vector<std::string>& peers,
                     TouchedParcels& touched);

}  // namespace bsmtp::mda
