// See gateway_address.h.
#include "mda/agent/gateway_address.h"

#include <string>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::mda {
namespace {

std::string_view domain_of(std::string_view address) {
  return mail::strip_trailing_dot(mail::split_address(address).domain);
}

// Parcels inside parcels and forged bounces of our own parcels come only that way.
bool is_mailbox_of(std::string_view address, std::string_view user, std::string_view host) {
  if (!iequals(domain_of(address), host)) {
    return false;
  }
  // "bsmtp"@host is the same mailbox as bsmtp@host.
  const std::string_view written = mail::split_address(address).local;
  const std::string local = mail::dequote_local(written).value_or(std::string(written));
  return iequals(std::string_view(local).substr(0, local.find('+')), user);
}

}  // namespace

bool is_gateway_address(const config::Config& config, std::string_view address) {
  if (is_mailbox_of(address, config.user, config.host)) {
    return true;
  }
  for (const config::Peer& peer : config.peers) {
    if (is_mailbox_of(address, peer.user, peer.host)) {
      return true;
    }
  }
  return false;
}

bool is_tunnels_own(const config::Config& config, std::string_view address) {
  return rewrite::is_pseudo_domain(domain_of(address)) || is_gateway_address(config, address);
}

}  // namespace bsmtp::mda
