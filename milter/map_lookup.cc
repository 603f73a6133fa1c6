// The socketmap's answers; see map_lookup.h.
#include "milter/map_lookup.h"

#include <utility>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::milter {
namespace {

using rewrite::Decision;
using rewrite::Kind;
using socketmap::Answer;

// A label and a user that no site has rules for: they stand for "some host" and "somebody".
constexpr std::string_view kProbeLabel = "bsmtp-map-probe";
constexpr std::string_view kProbeUser = "bsmtp-map-probe";

struct Route {
  enum class Kind { kNone, kDirect, kTunnel, kInTunnel };
  Kind kind = Kind::kNone;
  std::string peer;  // kTunnel: its name
};

class Router {
 public:
  explicit Router(const rewrite::RuleSet& rules) : rules_(rules) {}

  Route route(std::string_view local, std::string_view domain) const {
    if (rewrite::is_pseudo_domain(domain)) {
      return {Route::Kind::kInTunnel, {}};
    }
    // Postfix asks with quotes and, when that is not found, without.
    const std::string quoted =
        mail::dequote_local(local) ? std::string(local) : mail::quote_local(local);
    const std::string address = str_cat({quoted, "@", domain});
    bool exempt = false;
    std::string peer = peer_of(address, domain, rewrite::kChannelSmtp, exempt);
    // A map does not know where mail comes from. Rules that ask for it are the milter's.
    if (!exempt && peer != peer_of(address, domain, rewrite::kChannelLocal, exempt)) {
      peer.clear();
    }
    if (exempt) {
      const bool ours = iequals(domain, rules_.options().host);
      return {!ours || is_below_tunnel(domain) ? Route::Kind::kDirect : Route::Kind::kNone, {}};
    }
    if (!peer.empty()) {
      return {Route::Kind::kTunnel, std::move(peer)};
    }
    return {is_below_tunnel(domain) ? Route::Kind::kDirect : Route::Kind::kNone, {}};
  }

 private:
  Decision ask(std::string_view address, std::string_view channel) const {
    rewrite::Query query;
    query.address = address;
    query.source_channel = channel;
    return classify(rules_, query);
  }

  // The peer for an address, "" when the MTA has it.
  std::string peer_of(std::string_view address, std::string_view domain, std::string_view channel,
                      bool& exempt) const {
    const Decision decision = ask(address, channel);
    exempt = exempt || decision.kind == Kind::kExempt;
    if (decision.kind == Kind::kDivert) {
      return decision.peer->name;
    }
    // Not divertible (an odd local part), but its domain is tunneled: as in the static map.
    const bool by_domain =
        decision.kind == Kind::kLeave && decision.peer != nullptr && decision.peer->divert;
    return by_domain ? peer_of_host(domain, channel) : std::string();
  }

  std::string peer_of_host(std::string_view host, std::string_view channel) const {
    const Decision decision = ask(str_cat({kProbeUser, "@", host}), channel);
    return decision.kind == Kind::kDivert ? decision.peer->name : std::string();
  }

  bool is_tunneled(std::string_view host) const {
    return !peer_of_host(host, rewrite::kChannelSmtp).empty();
  }

  // A static entry for the host or for a parent of it could catch the address.
  bool is_below_tunnel(std::string_view domain) const {
    if (!mail::is_domain(domain)) {
      return false;
    }
    if (is_tunneled(domain)) {
      return true;
    }
    for (std::size_t dot = domain.find('.'); dot != std::string_view::npos;
         dot = domain.find('.', dot + 1)) {
      if (is_tunneled(str_cat({kProbeLabel, domain.substr(dot)}))) {
        return true;
      }
    }
    return false;
  }

  const rewrite::RuleSet& rules_;
};

MapAnswer found(std::string data) {
  return {Answer::kOk, std::move(data)};
}

MapAnswer for_postfix(const Policy& policy, const Route& route) {
  switch (route.kind) {
    case Route::Kind::kTunnel:
      return found(str_cat({policy.map_transport(), ":",
                            policy.map_nexthop().empty() ? rewrite::pseudo_domain(route.peer)
                                                         : policy.map_nexthop()}));
    case Route::Kind::kInTunnel:  // without nexthop Postfix takes the pseudo-domain itself
      return found(str_cat({policy.map_transport(), ":", policy.map_nexthop()}));
    case Route::Kind::kDirect:
      return found(":");
    case Route::Kind::kNone:
      break;
  }
  return {};
}

MapAnswer for_sendmail(const Route& route) {
  switch (route.kind) {
    case Route::Kind::kTunnel:
      return found(rewrite::pseudo_domain(route.peer));
    case Route::Kind::kDirect:
      return found("direct");
    case Route::Kind::kInTunnel:  // class P and the ruleset have it
    case Route::Kind::kNone:
      break;
  }
  return {};
}

}  // namespace

MapAnswer look_up_map(const Policy& policy, std::string_view name, std::string_view key) {
  const bool postfix = name == "transport";
  if (!postfix && name != "bsmtp") {
    return {Answer::kTemp, "bsmtp-milter has no map of this name; there are transport and bsmtp"};
  }
  if (!postfix && iequals(key, rewrite::kPseudoSuffix)) {
    return found("tunnel");
  }
  const std::size_t at = key.rfind('@');
  if (at == std::string_view::npos || at == 0 ||
      mail::strip_trailing_dot(key.substr(at + 1)).empty()) {
    return {};
  }
  const Route route =
      Router(policy.rules()).route(key.substr(0, at), mail::strip_trailing_dot(key.substr(at + 1)));
  return postfix ? for_postfix(policy, route) : for_sendmail(route);
}

}  // namespace bsmtp::milter
