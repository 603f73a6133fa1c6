#include "mda/receive/authorise.h"

#include <utility>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/tunnel_address.h"
#include "mda/agent/gateway_address.h"

namespace bsmtp::mda {
namespace {

std::string_view domain_of(std::string_view address) {
  return mail::strip_trailing_dot(mail::split_address(address).domain);
}

std::string shown(std::string_view address) {
  return str_cat({"<", printable(address, 320), ">"});
}

// The refusal of one recipient; an empty code when it may be delivered.
spool::AcceptedRefusal check_recipient(const config::Config& config, const config::Peer& peer,
                                       std::string_view address, const RouteLookup& route) {
  const std::string_view domain = domain_of(address);
  if (domain.empty()) {
    return {0, "5.1.3", str_cat({shown(address), " has no domain"})};
  }
  if (rewrite::is_pseudo_domain(domain)) {
    return {0, "5.1.2", str_cat({shown(address), " is a private address of a tunnel"})};
  }
  if (is_gateway_address(config, address)) {
    return {0, "5.7.1",
            str_cat({shown(address), " is a tunnel gateway: it takes no mail out of a tunnel"})};
  }
  if (!mail::domain_matches_any(domain, peer.recipient_domains)) {
    return {0, "5.7.1",
            str_cat({"mail for ", shown(address), " may not come through the tunnel from ",
                     peer.host})};
  }
  if (route && iequals(route(domain), peer.name)) {
    return {0, "5.4.6",
            str_cat({"mail for ", shown(address), " came from ", peer.host,
                     " and would go back there: routing loop"})};
  }
  return {};
}

// What `sender-domains` says; without it any domain but this host's own. An address literal may
// well be this host, so only an explicit `sender-domains` can let it pass.
bool may_send_as(const config::Config& config, const config::Peer& peer, std::string_view domain) {
  if (!peer.sender_domains.empty()) {
    return mail::domain_matches_any(domain, peer.sender_domains);
  }
  return !domain.empty() && !domain.starts_with('[') && !iequals(domain, config.host) &&
         !mail::domain_matches_any(domain, config.own_domains);
}

// The refusal of the whole message; an empty code when its sender may be.
spool::AcceptedRefusal check_sender(const config::Config& config, const config::Peer& peer,
                                    std::string_view address) {
  if (address.empty()) {
    return {};
  }
  // Whatever `sender-domains` says: a report to such a sender would go into a tunnel, or be taken
  // for the bounce of a parcel.
  if (rewrite::is_pseudo_domain(domain_of(address))) {
    return {0, "5.1.8", str_cat({"sender ", shown(address), " is a private address of a tunnel"})};
  }
  if (is_gateway_address(config, address)) {
    return {0, "5.7.1", str_cat({"sender ", shown(address), " is a tunnel gateway"})};
  }
  if (!may_send_as(config, peer, domain_of(address))) {
    return {
        0, "5.7.1",
        str_cat({"sender ", shown(address), " may not come through the tunnel from ", peer.host})};
  }
  return {};
}

}  // namespace

std::vector<spool::AcceptedRefusal> authorise(const config::Config& config,
                                              const config::Peer& peer,
                                              const mail::Envelope& envelope,
                                              std::uint64_t received, const RouteLookup& route) {
  if (received > config.max_received) {
    return {{0, "5.4.6",
             str_cat({"too many hops: ", std::to_string(received), " Received fields, limit ",
                      std::to_string(config.max_received)})}};
  }
  if (auto refusal = check_sender(config, peer, envelope.sender); !refusal.code.empty()) {
    return {std::move(refusal)};
  }
  std::vector<spool::AcceptedRefusal> refused;
  for (std::size_t i = 0; i < envelope.recipients.size(); ++i) {
    auto refusal = check_recipient(config, peer, envelope.recipients[i].address, route);
    if (!refusal.code.empty()) {
      refusal.recipient = i + 1;
      refused.push_back(std::move(refusal));
    }
  }
  return refused;
}

}  // namespace bsmtp::mda
