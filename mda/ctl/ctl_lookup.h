// What the spool commands share: opening the spool, choosing peers, ids by their beginning.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/mail/envelope.h"
#include "common/spool/fields.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_commands.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {

Result<spool::Spool> open_spool(const Context& context);
// The peers a command is about: --peer, or all that have a directory. Permanent 5.1.1.
Result<std::vector<std::string>> chosen_peers(const Context& context, const Arguments& arguments,
                                              const spool::Spool& spool);
// True when `id` begins with at least six characters of `prefix`.
bool begins_with(const std::string& id, const std::string& prefix);
Status ambiguous_id(const std::string& word);
// What `state` says about a parcel's receipt, in a word or two: "" (none is awaited), "awaited",
// "bounced", "asked" (it has expired), "held" (a human decides), "splitting".
std::string receipt_word(const spool::Fields& state);
// "sender" and "recipients" of the object that is open.
void envelope_json(Json& json, const mail::Envelope& envelope);

}  // namespace bsmtp::mda::ctl
