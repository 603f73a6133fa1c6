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
  enum class Kind { kLeft, kExempt, kTunnel, kInTunnel };
  Kind kind = Kind::kLeft;
  std::string peer;            // kTunnel: its name
  std::string diverted;        // kTunnel: the address, "" when it may not be diverted
  bool perhaps_below = false;  // kLeft, kExempt: some rule knows the host or a parent of it
};

class Router {
 public:
  explicit Router(const rewrite::RuleSet& rules) : rules_(rules) {}

  Route route(std::string_view local, std::string_view domain) const {
    if (rewrite::is_pseudo_domain(domain)) {
      return {Route::Kind::kInTunnel, {}, {}, false};
    }
    // Postfix asks with quotes and, when that is not found, without.
    const std::string quoted =
        mail::dequote_local(local) ? std::string(local) : mail::quote_local(local);
    const std::string address = str_cat({quoted, "@", domain});
    rewrite::Trace count;
    count.text = false;
    Route found = find(address, domain, rewrite::kChannelSmtp, &count);
    // A map does not know where mail comes from. Rules that ask for it are the milter's.
    if (found.kind == Route::Kind::kTunnel) {
      const Route other = find(address, domain, rewrite::kChannelLocal, nullptr);
      if (other.kind == Route::Kind::kExempt || other.peer != found.peer) {
        found = {
            other.kind == Route::Kind::kExempt ? other.kind : Route::Kind::kLeft, {}, {}, true};
      } else if (other.diverted != found.diverted) {
        found.diverted.clear();
      }
    }
    // No rule for the host or its parents: most mail, and no more to ask. (The rules of an address
    // with more hosts may have been asked for another one, and a neighbour at another depth have
    // a rule of its own.)
    found.perhaps_below = found.kind == Route::Kind::kExempt || count.hits != 0 ||
                          rules_.counts_labels() ||
                          local.find_first_of("%!") != std::string_view::npos;
    return found;
  }

  // An entry of a table for the host or for a parent of it could catch the address.
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

 private:
  Decision ask(std::string_view address, std::string_view channel, rewrite::Trace* trace) const {
    rewrite::Query query;
    query.address = address;
    query.source_channel = channel;
    return classify(rules_, query, trace);
  }

  Route find(std::string_view address, std::string_view domain, std::string_view channel,
             rewrite::Trace* trace) const {
    Decision decision = ask(address, channel, trace);
    if (decision.kind == Kind::kExempt) {
      return {Route::Kind::kExempt, {}, {}, false};
    }
    if (decision.kind == Kind::kDivert) {
      return {Route::Kind::kTunnel, decision.peer->name, std::move(decision.diverted), false};
    }
    // Not divertible (an odd local part), but its domain is tunneled: as in the static map.
    const bool by_domain =
        decision.kind == Kind::kLeave && decision.peer != nullptr && decision.peer->divert;
    std::string peer = by_domain ? peer_of_host(domain, channel) : std::string();
    const auto kind = peer.empty() ? Route::Kind::kLeft : Route::Kind::kTunnel;
    return {kind, std::move(peer), {}, false};
  }

  std::string peer_of_host(std::string_view host, std::string_view channel) const {
    const Decision decision = ask(str_cat({kProbeUser, "@", host}), channel, nullptr);
    return decision.kind == Kind::kDivert ? decision.peer->name : std::string();
  }

  bool is_tunneled(std::string_view host) const {
    return !peer_of_host(host, rewrite::kChannelSmtp).empty();
  }

  const rewrite::RuleSet& rules_;
};

MapAnswer found(std::string data) {
  return {Answer::kOk, std::move(data)};
}

MapAnswer for_postfix(const Policy& policy, std::string_view local, std::string_view domain) {
  const Router router(policy.rules());
  const Route route = router.route(local, domain);
  bool direct = false;
  switch (route.kind) {
    case Route::Kind::kTunnel:
      return found(str_cat({policy.map_transport(), ":",
                            policy.map_nexthop().empty() ? rewrite::pseudo_domain(route.peer)
                                                         : policy.map_nexthop()}));
    case Route::Kind::kInTunnel:  // without nexthop Postfix takes the pseudo-domain itself
      return found(str_cat({policy.map_transport(), ":", policy.map_nexthop()}));
    case Route::Kind::kExempt:
      direct = !iequals(domain, policy.rules().options().host);
      break;
    case Route::Kind::kLeft:
      break;
  }
  direct = direct || (route.perhaps_below && router.is_below_tunnel(domain));
  return direct ? found(":") : MapAnswer{};
}

MapAnswer for_sendmail(const Policy& policy, std::string_view local, std::string_view domain) {
  Route route = Router(policy.rules()).route(local, domain);
  switch (route.kind) {
    case Route::Kind::kTunnel:
      return found(route.diverted.empty() ? rewrite::pseudo_domain(route.peer)
                                          : std::move(route.diverted));
    case Route::Kind::kInTunnel:  // the ruleset has it before it asks
      return found(str_cat({local, "@", domain}));
    case Route::Kind::kExempt:
    case Route::Kind::kLeft:
      break;
  }
  return found("direct");
}

}  // namespace

MapAnswer look_up_map(const Policy& policy, std::string_view name, std::string_view key) {
  const bool postfix = name == "transport";
  if (!postfix && name != "bsmtp_rules") {
    return {Answer::kTemp,
            "bsmtp-milter has no map of this name; there are transport and bsmtp_rules"};
  }
  const std::size_t at = key.rfind('@');
  const std::string_view domain =
      at == std::string_view::npos ? key : mail::strip_trailing_dot(key.substr(at + 1));
  if (at == std::string_view::npos || at == 0 || domain.empty()) {
    return postfix ? MapAnswer{} : MapAnswer{Answer::kTemp, "the key is no whole address"};
  }
  const std::string_view local = key.substr(0, at);
  return postfix ? for_postfix(policy, local, domain) : for_sendmail(policy, local, domain);
}

}  // namespace bsmtp::milter
