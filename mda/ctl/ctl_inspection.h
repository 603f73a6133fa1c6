// Prints what parcel::inspect() found; shared by `parcel inspect` and `quarantine show`.
#pragma once

#include <ostream>

#include "common/parcel/inspect.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {

void print_inspection(std::ostream& out, const parcel::Inspection& inspection);
// One JSON object.
void inspection_json(Json& json, const parcel::Inspection& inspection);

}  // namespace bsmtp::mda::ctl
