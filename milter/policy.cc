// Configuration and rules as a Session asks for them; see policy.h.
#include "milter/policy.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/rewrite/engine.h"

namespace bsmtp::milter {
namespace {

// "10027" of "smtp://127.0.0.1:10027": the listener the dispatcher resubmits to.
std::string port_of_url(std::string_view url) {
  const std::size_t colon = url.rfind(':');
  if (colon == std::string_view::npos) {
    return {};
  }
  const std::string_view port = url.substr(colon + 1);
  const auto number = parse_u64(port);
  // The public port proves nothing: everybody comes in by it.
  return number && *number != 25 && *number <= 65535 ? std::string(port) : std::string();
}

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || iequals(address, "::ffff:127.0.0.1");
}

}  // namespace

rewrite::Options rule_options(const config::Config& config) {
  rewrite::Options options;
  options.host = config.host;
  options.user = config.user;
  options.own_domains = config.own_domains;
  options.pass_tags = config.pass_tags;
  for (const config::Peer& peer : config.peers) {
    options.peers.push_back({peer.name, peer.tag, peer.channel, peer.host, peer.user,
                             peer.state == config::PeerState::kOn});
  }
  return options;
}

Policy::Policy(const config::Config& config, std::shared_ptr<const rewrite::RuleSet> rules)
    : rules_(std::move(rules)),
      host_(config.host),
      user_(config.user),
      gateway_daemons_(config.gateway_daemons) {
  if (std::string port = port_of_url(config.resubmit); !port.empty()) {
    gateway_daemons_.push_back(std::move(port));
  }
}

Result<std::shared_ptr<const Policy>> Policy::load(const config::Config& config) {
  std::shared_ptr<const rewrite::RuleSet> rules;
  TRY_ASSIGN(rules, rewrite::RuleSet::load(config.rewrite_rules, rule_options(config)));
  const std::shared_ptr<Policy> policy(new Policy(config, std::move(rules)));
  TRY(policy->take_map_route(config));
  return std::shared_ptr<const Policy>(policy);
}

Result<std::shared_ptr<const Policy>> Policy::parse(const config::Config& config,
                                                    std::string_view rules) {
  std::shared_ptr<const rewrite::RuleSet> set;
  TRY_ASSIGN(set, rewrite::RuleSet::parse(rules, "rules", rule_options(config)));
  const std::shared_ptr<Policy> policy(new Policy(config, std::move(set)));
  TRY(policy->take_map_route(config));
  return std::shared_ptr<const Policy>(policy);
}

// Where no socketmap is served the value is bsmtpctl's alone, which checks it.
Status Policy::take_map_route(const config::Config& config) {
  const std::string& route = config.export_transport;
  const std::size_t colon = route.find(':');
  const bool good =
      colon != 0 && colon != std::string::npos && route.find_first_of(" \t,") == std::string::npos;
  if (!good && !config.socketmap_socket.empty()) {
    return Status::temporary("4.3.5", "export-transport is TRANSPORT:NEXTHOP, not '" +
                                          printable(route, 200) + "'; correct it in bsmtp.conf");
  }
  if (good) {
    map_transport_ = route.substr(0, colon);
    map_nexthop_ = route.substr(colon + 1);
  }
  return Status::ok();
}

bool Policy::is_gateway_listener(const Connection& connection) const {
  return std::any_of(
      gateway_daemons_.begin(), gateway_daemons_.end(), [&](const std::string& known) {
        return iequals(known, connection.daemon_name) || known == connection.daemon_port;
      });
}

// `<user>@<host>` or `<user>+<token>@<host>`: the reverse-path of parcels (design 6).
bool Policy::is_parcel_address(std::string_view reverse_path) const {
  const std::size_t at = reverse_path.rfind('@');
  if (at == std::string_view::npos || !iequals(reverse_path.substr(at + 1), host_)) {
    return false;
  }
  const std::string_view local = reverse_path.substr(0, at);
  return istarts_with(local, user_) && (local.size() == user_.size() || local[user_.size()] == '+');
}

Origin Policy::origin(const Connection& connection, const MailFrom& mail,
                      std::string_view reverse_path) const {
  // Parcels and unpacked mail pass first: neither may ever enter a tunnel again.
  if (is_gateway_listener(connection)) {
    return {std::string(rewrite::kChannelGateway), false};
  }
  if (is_parcel_address(reverse_path)) {
    return {"bsout_*", false};
  }
  if (!mail.login.empty()) {
    return {std::string(rewrite::kChannelAuth), true};
  }
  // Postfix hands a locally submitted message over without brackets and as if from localhost;
  // an SMTP client may leave the brackets out too, but not from elsewhere.
  const bool bracketed = !mail.path.empty() && mail.path.front() == '<';
  if (!bracketed && is_loopback(connection.client_address)) {
    return {std::string(rewrite::kChannelLocal), true};
  }
  return {std::string(rewrite::kChannelSmtp), true};
}

Lookup Policy::look_up(std::string_view address, std::string_view channel) const {
  rewrite::Query query;
  query.address = address;
  query.source_channel = channel;
  rewrite::Decision decision = rewrite::classify(*rules_, query);
  Lookup lookup;
  if (decision.kind == rewrite::Kind::kDivert && decision.peer != nullptr) {
    lookup.outcome = Lookup::Outcome::kDivert;
    lookup.peer = decision.peer->name;
    lookup.local = std::move(decision.rewritten_local);
    lookup.domain = std::move(decision.rewritten_domain);
  } else if (decision.kind == rewrite::Kind::kLeave && decision.peer != nullptr &&
             decision.peer->divert) {
    lookup.outcome = Lookup::Outcome::kLeft;
    lookup.why = std::move(decision.reason);
  }
  return lookup;
}

}  // namespace bsmtp::milter
