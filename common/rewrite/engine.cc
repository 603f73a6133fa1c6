#include "common/rewrite/engine.h"

#include <algorithm>
#include <optional>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/scan.h"
#include "common/rewrite/tables.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::rewrite {
namespace {

// Beyond what RFC 5321 4.5.3.1 lets a command carry; longer ones are left to the MTA.
constexpr std::size_t kMaxAddress = 900;
constexpr std::string_view kIllegalHost = "illegal host/domain";

// One classification. Holds the state that sticks for the rest of the address: tag and error.
class Engine {
 public:
  Engine(const RuleSet& rules, const Query& query, Trace* trace)
      : t_(rules.tables()),
        rules_(rules),
        query_(query),
        source_(to_lower(query.source_channel)),
        trace_(trace) {}

  Decision run() {
    std::string_view address = query_.address;
    if (address.size() >= 2 && address.front() == '<' && address.back() == '>') {
      address = address.substr(1, address.size() - 2);
    }
    if (address.empty()) {
      return leave("the null address");
    }
    if (address.size() > kMaxAddress || !mail::is_safe_path(address)) {
      return leave("the address is too long or not well formed");
    }
    out_.route_stripped = std::string(mail::strip_source_route(address));
    const auto parts = mail::split_address(out_.route_stripped);
    if (is_exempt(rules_, parts.local, parts.domain)) {
      return exempt();
    }
    if (is_pseudo_domain(parts.domain)) {
      return leave("the address is diverted already");
    }
    if (!t_.options.transit && iequals(source_, kChannelGateway)) {
      return leave("mail that comes out of the tunnel is not diverted again");
    }
    return rewrite(std::string(address));
  }

 private:
  enum class Outcome { kNoRule, kAgain, kRouted, kErrorOnly };

  Decision rewrite(std::string address) {
    for (std::size_t round = 0; round < t_.options.max_rewrites; ++round) {
      // A template that names $U twice doubles the address in every round.
      if (address.size() > kMaxAddress) {
        return loop();
      }
      auto first = first_host(address);
      if (!first || first->host.empty()) {
        return leave("there is no host to look up");
      }
      host_ = std::move(*first);
      sender_routing_ = sender_routing_ || host_.position == Position::kPercent ||
                        host_.position == Position::kBang;
      if (trace_ != nullptr) {
        ++trace_->rounds;
      }
      const Outcome outcome = scan();
      if (outcome == Outcome::kAgain) {
        address = next_;
      } else if (outcome == Outcome::kNoRule && host_.position == Position::kRoute) {
        // RFC 5321 4.1.2 lets a server ignore a route, and both MTAs do.
        event("", "no rule for the route's host " + host_.host + ": the route is ignored");
        address = host_.user;
      } else if (const auto decision = settle(outcome)) {
        return *decision;
      } else {
        address = new_user_;
      }
    }
    return loop();
  }

  // The end of the rewriting; nullopt when the address goes on behind this host's name.
  std::optional<Decision> settle(Outcome outcome) {
    if (outcome == Outcome::kNoRule) {
      return error_text_ ? error() : leave("no rule");
    }
    if (outcome == Outcome::kErrorOnly) {
      // PMDF still looks the host up among the channels, unchanged.
      if (channel(host_.host) == nullptr) {
        return error();
      }
      as_channel_host();
    }
    return routed();
  }

  // Tries the probes in order until a rule succeeds.
  Outcome scan() {
    Match match;
    match.user = host_.user;
    match.host = host_.host;
    match.unmatched = host_.host;
    if (probe("$*", match)) {
      return outcome_;
    }
    const bool literal = host_.host.size() >= 2 && host_.host.front() == '[';
    if (literal ? scan_literal(match) : scan_domain(match)) {
      return outcome_;
    }
    match.unmatched = match.host;
    match.matched = {};
    if ((host_.position == Position::kPercent && probe("$%", match)) ||
        (host_.position == Position::kBang && probe("$!", match))) {
      return outcome_;
    }
    if (channel(host_.host) != nullptr) {
      as_channel_host();
      return Outcome::kRouted;
    }
    match.matched = ".";
    return probe(".", match) ? outcome_ : Outcome::kNoRule;
  }

  void as_channel_host() {
    event(host_.host, "is a channel host name");
    system_ = host_.host;
    new_user_ = host_.user;
    new_host_ = host_.host;
    source_route_.clear();
  }

  // a.b.c: itself, *.b.c .b.c *.*.c .c *.*.*
  bool scan_domain(Match& match) {
    const std::string_view host = match.host;
    match.unmatched = {};
    match.matched = host;
    if (probe(host, match)) {
      return true;
    }
    std::string stars;
    for (std::size_t dot = host.find('.');; dot = host.find('.', dot + 1)) {
      stars += stars.empty() ? "*" : ".*";
      const bool last = dot == std::string_view::npos;
      match.unmatched = host.substr(0, dot);
      match.matched = last ? std::string_view() : host.substr(dot);
      if (probe(str_cat({stars, match.matched}), match)) {
        return true;
      }
      if (last) {
        return false;
      }
      if (probe(match.matched, match)) {
        return true;
      }
    }
  }

  // [1.2.3.4]: itself, [1.2.3.] [1.2.] [1.] [] [*.*.*.*]
  bool scan_literal(Match& match) {
    const std::string_view host = match.host;
    match.unmatched = {};
    match.matched = host;
    if (probe(host, match)) {
      return true;
    }
    const std::string_view inner = host.substr(1, host.size() - 2);
    const bool ipv4 = std::count(inner.begin(), inner.end(), '.') == 3 &&
                      inner.find_first_not_of("0123456789.") == std::string_view::npos;
    for (std::size_t dot = ipv4 ? inner.rfind('.') : std::string_view::npos;
         dot != std::string_view::npos && dot != 0; dot = inner.rfind('.', dot - 1)) {
      match.matched = inner.substr(0, dot + 1);
      match.unmatched = match.literal_rest = inner.substr(dot + 1);
      if (probe(str_cat({"[", match.matched, "]"}), match)) {
        return true;
      }
    }
    match.matched = {};
    match.unmatched = host;
    match.literal_rest = inner;
    return probe("[]", match) || (ipv4 && probe("[*.*.*.*]", match));
  }

  // One hash look-up, then the rules with this pattern in file order until one succeeds.
  bool probe(std::string_view text, const Match& match) {
    key_.assign(tag_);
    key_ += text;
    std::transform(key_.begin(), key_.end(), key_.begin(), ascii_lower);
    if (trace_ != nullptr) {
      ++trace_->lookups;
    }
    const auto found = t_.index.find(key_);
    if (found == t_.index.end()) {
      if (tracing()) {
        trace_->steps.push_back({tag_ + std::string(text), "", "", "no rule"});
      }
      return false;
    }
    if (trace_ != nullptr) {
      ++trace_->hits;
    }
    for (std::uint32_t i = found->second.first; i != kNoRule; i = t_.rules[i].next) {
      std::string why;
      const bool good = apply(t_.template_of(t_.rules[i]), match, why);
      if (tracing()) {
        trace_->steps.push_back({tag_before_ + std::string(text), t_.text_of(t_.rules[i]),
                                 t_.where(t_.rules[i]), good ? describe() : "fails: " + why});
      }
      if (good) {
        return true;
      }
    }
    return false;
  }

  bool apply(const Template& t, const Match& match, std::string& why) {
    tag_before_ = tag_;
    if (!place_allows(t, query_, host_.position, why)) {
      return false;
    }
    std::optional<std::vector<std::string>> parts;
    if (t.form != Form::kErrorOnly) {
      parts = expand_template(t, match, &why);
      if (!parts) {
        return false;
      }
    }
    // PMDF makes the channel checks after the rest of the template was read, so a $? beside a
    // failing $M is remembered.
    if (t.error_text) {
      error_text_ = *t.error_text;
      error_code_ = t.error_code;
    }
    if (!channels_allow(t, query_, source_, why)) {
      return false;
    }
    if (t.tag) {
      tag_ = *t.tag;
    }
    if (!parts) {
      outcome_ = Outcome::kErrorOnly;
      return true;
    }
    take(t, *parts);
    return true;
  }

  void take(const Template& t, std::vector<std::string>& parts) {
    new_user_ = std::move(parts[0]);
    new_host_ = std::string(mail::strip_trailing_dot(parts[1]));
    source_route_.clear();
    if (t.form == Form::kAgain) {
      next_ = host_.position == Position::kRoute ? str_cat({"@", new_host_, ":", new_user_})
                                                 : str_cat({new_user_, "@", new_host_});
      outcome_ = Outcome::kAgain;
      return;
    }
    system_ = std::string(mail::strip_trailing_dot(t.parts.size() == 2 ? parts[1] : parts.back()));
    if (t.form == Form::kSourceRoute) {
      source_route_ = parts[2];
    }
    outcome_ = Outcome::kRouted;
  }

  const Channel* channel(std::string_view name) const {
    const auto found = t_.channels.find(to_lower(name));
    return found == t_.channels.end() ? nullptr : &found->second;
  }

  std::string rewritten() const {
    if (host_.position == Position::kRoute) {
      return str_cat({"@", new_host_, ":", new_user_});
    }
    return source_route_.empty() ? str_cat({new_user_, "@", new_host_})
                                 : str_cat({"@", source_route_, ":", new_user_, "@", new_host_});
  }

  // A rule reached a routing system. nullopt: it is this host and the address goes on behind it.
  std::optional<Decision> routed() {
    const Channel* target = channel(system_);
    out_.routing_system = system_;
    out_.rewritten_local = new_user_;
    out_.rewritten_domain = new_host_;
    out_.route = source_route_;
    out_.rewritten = rewritten();
    if (target == nullptr) {
      if (!error_text_) {
        error_text_ = std::string(kIllegalHost);
      }
      return error();
    }
    if (target->kind == Channel::Kind::kLocal) {
      if (first_host(new_user_)) {
        event(system_, "is this host: dropped, the address goes on as " + new_user_);
        return std::nullopt;
      }
      return leave("delivered on this host");
    }
    if (target->kind == Channel::Kind::kPass) {
      return leave("routing system " + system_ + " is left to the MTA");
    }
    return divert(t_.options.peers[target->peer]);
  }

  Decision divert(const PeerInfo& peer) {
    out_.peer = &peer;
    if (is_exempt(rules_, new_user_, new_host_)) {
      return exempt();
    }
    if (host_.position == Position::kRoute) {
      return leave("a source route through a tunneled host is left to the MTA");
    }
    if (sender_routing_) {
      return leave("sender routing by % or ! is left to the MTA and its static map");
    }
    if (iequals(new_host_, peer.tag)) {
      return leave("the address names a channel, not a host");
    }
    if (!peer.divert) {
      return leave("peer " + peer.name + " is not switched on");
    }
    auto diverted = encode_tunnel(new_user_, new_host_, peer.name, query_.notify_never);
    if (!diverted.is_ok()) {
      return leave("not divertible: " + diverted.status().text());
    }
    out_.kind = Kind::kDivert;
    out_.diverted = std::move(diverted).value();
    out_.reason = "to peer " + peer.name;
    return out_;
  }

  Decision leave(std::string reason) {
    out_.kind = Kind::kLeave;
    out_.reason = std::move(reason);
    return out_;
  }
  Decision exempt() {
    out_.kind = Kind::kExempt;
    out_.reason = "an address of a gateway itself is never diverted";
    return out_;
  }
  Decision error() {
    out_.kind = Kind::kError;
    out_.code = error_code_;
    out_.text = error_text_.value_or(std::string(kIllegalHost));
    out_.reason = out_.code + " " + out_.text;
    return out_;
  }
  Decision loop() {
    error_code_ = "5.4.6";
    error_text_ = "the rules rewrite this address without end; look for a loop of A%B templates";
    return error();
  }

  bool tracing() const { return trace_ != nullptr && trace_->text; }
  void event(const std::string& what, std::string result) {
    if (tracing()) {
      trace_->steps.push_back({what, "", "", std::move(result)});
    }
  }
  std::string describe() const {
    if (outcome_ == Outcome::kErrorOnly) {
      return "ends the rewriting";
    }
    const std::string tag = tag_ == tag_before_ ? "" : ", tag now \"" + tag_ + "\"";
    return outcome_ == Outcome::kAgain ? "-> " + next_ + ", again" + tag
                                       : "-> " + rewritten() + " via " + system_ + tag;
  }

  const Tables& t_;
  const RuleSet& rules_;
  const Query& query_;
  std::string source_;
  Trace* trace_;
  Decision out_;

  FirstHost host_;
  bool sender_routing_ = false;  // a host after % or before ! took part
  std::string tag_, tag_before_;
  std::optional<std::string> error_text_;
  std::string error_code_ = "5.1.2";

  // What the last successful rule gave.
  Outcome outcome_ = Outcome::kNoRule;
  std::string next_, new_user_, new_host_, source_route_, system_;
  std::string key_;
};

}  // namespace

Decision classify(const RuleSet& rules, const Query& query, Trace* trace) {
  return Engine(rules, query, trace).run();
}

}  // namespace bsmtp::rewrite
