// From what an MTA says about sender and recipients to what an item holds: the diverted recipient
// form is undone, the peer is found. Shared by the pipe and the LMTP form of bsmtp-out, so that
// the two cannot differ. All failures are temporary (a routing mistake of the admin must not
// bounce mail) but those of an address that cannot be read. Threads: one resolver, one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/config.h"
#include "common/mail/envelope.h"
#include "common/rewrite/export_map.h"

namespace bsmtp::mda {

struct ResolvedRecipient {
  std::string peer;  // name
  mail::Recipient recipient;
};

class RecipientResolver {
 public:
  explicit RecipientResolver(const config::Config& config) : config_(config) {}

  // --peer: name or pseudo-domain, for all recipients; one that names another peer is refused.
  Status use_peer(const std::string& argument);

  // `user%domain@peer.bsmtp.invalid` or `user@domain`, quoted or not, with or without brackets. A
  // plain one without use_peer() is looked up in the exported map. NOTIFY is NEVER below "never.".
  Result<ResolvedRecipient> resolve(std::string_view argument);

 private:
  Result<std::string> look_up(const std::string& domain);

  const config::Config& config_;
  std::string peer_;
  std::optional<rewrite::ExportedMap> map_;
};

// "" for the null sender in any of its forms; a sender without a domain gets `host`.
Result<std::string> resolve_sender(std::string_view sender, const std::string& host);

// Temporary unless mail for this peer is taken: unknown 4.3.5, switched off 4.3.2.
Status require_open(const config::Config& config, const std::string& peer);

}  // namespace bsmtp::mda
