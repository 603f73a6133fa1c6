#include "mda/ctl/ctl_lookup.h"

#include "common/base/text.h"
#include "common/os/file_ops.h"

namespace bsmtp::mda::ctl {

Result<spool::Spool> open_spool(const Context& context) {
  return spool::Spool::open(os::real_file_ops(), context.config->spool_directory);
}

Result<std::vector<std::string>> chosen_peers(const Context& context, const Arguments& arguments,
                                              const spool::Spool& spool) {
  if (!arguments.has("peer")) {
    return spool.peers();
  }
  const config::Peer* peer = context.config->peer_for_argument(arguments.value("peer"));
  if (peer == nullptr) {
    return Status::permanent("5.1.1", str_cat({"no peer ", printable(arguments.value("peer"), 60),
                                               "; `bsmtpctl peer list` shows them"}));
  }
  return std::vector<std::string>{peer->name};
}

bool begins_with(const std::string& id, const std::string& prefix) {
  return prefix.size() >= 6 && id.compare(0, prefix.size(), prefix) == 0;
}

Status ambiguous_id(const std::string& word) {
  return Status::permanent("5.1.1",
                           "several ids begin with " + printable(word, 60) + "; give more of it");
}

std::string receipt_word(const spool::Fields& state) {
  if (state.has("splitting")) {
    return "splitting";
  }
  if (!state.has("handed") || state.has("failing")) {
    return "";
  }
  for (const char* word : {"held", "refused", "bounced", "asked"}) {
    if (state.has(word)) {
      return word;
    }
  }
  return "awaited";
}

void envelope_json(Json& json, const mail::Envelope& envelope) {
  json.field("sender", envelope.sender).key("recipients").array();
  for (const auto& recipient : envelope.recipients) {
    json.string(recipient.address);
  }
  json.end();
}

}  // namespace bsmtp::mda::ctl
