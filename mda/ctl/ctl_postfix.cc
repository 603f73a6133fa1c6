#include "mda/ctl/ctl_postfix.h"

#include <algorithm>

#include "common/base/text.h"

namespace bsmtp::mda::ctl {
namespace {

// `postconf -P` takes no blank in a value; Postfix' lists are as well parted by commas alone.
constexpr const char* kOursInPostfix =
    "{unix:bsmtp/milter.sock,default_action=tempfail,connect_timeout=10s,command_timeout=30s}";

// Members of a list of Postfix': blanks and commas part them, braces hold them together.
std::vector<std::string> members(std::string_view list) {
  std::vector<std::string> found;
  std::string word;
  int depth = 0;
  for (const char c : list) {
    const bool blank = c == ' ' || c == '\t' || c == ',' || c == '\n';
    if (blank && depth == 0) {
      if (!word.empty()) {
        found.push_back(std::exchange(word, {}));
      }
      continue;
    }
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    word += c;
  }
  if (!word.empty()) {
    found.push_back(word);
  }
  return found;
}

// "{ unix:bsmtp/milter.sock, default_action=tempfail }" -> "unix:bsmtp/milter.sock"
std::string milter_of(std::string_view member) {
  if (member.starts_with('{')) {
    const auto inner = members(member.substr(1, member.size() - (member.ends_with('}') ? 2 : 1)));
    return inner.empty() ? "" : inner.front();
  }
  return std::string(member);
}

// The same list with commas alone; a comma behind each member.
std::string without_blanks(std::string_view list) {
  std::string text;
  for (const std::string& member : members(list)) {
    const bool braces = member.starts_with('{') && member.ends_with('}');
    text += braces ? "{" + join(members(member.substr(1, member.size() - 2)), ",") + "}" : member;
    text += ',';
  }
  return text;
}

bool is_loopback_host(std::string_view host) {
  return host.starts_with("127.") || host == "::1" || iequals(host, "localhost");
}

// Where a milter listens, as Postfix ("inet:HOST:PORT") or we ("inet:PORT@HOST") write it.
struct Place {
  bool inet = false;
  std::string_view at;  // path, or host without brackets
  std::string_view port;
};

Place place_of(std::string_view text) {
  for (const std::string_view scheme : {"unix:", "local:"}) {
    if (istarts_with(text, scheme)) {
      return {false, text.substr(scheme.size()), {}};
    }
  }
  if (!istarts_with(text, "inet:") && !istarts_with(text, "inet6:")) {
    return {false, text, {}};
  }
  text.remove_prefix(text.find(':') + 1);
  const std::size_t sign = text.find('@');
  const std::size_t colon = text.rfind(':');
  Place place{true, {}, text};
  if (sign != std::string_view::npos) {
    place.port = text.substr(0, sign);
    place.at = text.substr(sign + 1);
  } else if (colon != std::string_view::npos) {
    place.at = text.substr(0, colon);
    place.port = text.substr(colon + 1);
  }
  if (place.at.starts_with('[') && place.at.ends_with(']')) {
    place.at = place.at.substr(1, place.at.size() - 2);
  }
  return place;
}

bool is_ours(const config::Config& config, const PostfixSite& site, const std::string& milter) {
  const Place ours = place_of(config.milter_socket);
  const Place theirs = place_of(milter);
  if (ours.inet != theirs.inet) {
    return false;
  }
  if (ours.inet) {
    return ours.port == theirs.port && (iequals(ours.at, theirs.at) ||
                                        (is_loopback_host(ours.at) && is_loopback_host(theirs.at)));
  }
  return ours.at == theirs.at ||
         ours.at == str_cat({site.parameter("queue_directory"), "/", theirs.at});
}

bool has_ours(const config::Config& config, const PostfixSite& site, std::string_view list) {
  const auto all = members(list);
  return std::any_of(all.begin(), all.end(), [&](const std::string& member) {
    return is_ours(config, site, milter_of(member));
  });
}

bool is_loopback(const PostfixService& service) {
  return service.name.starts_with("127.") || service.name.starts_with("[::1]:") ||
         service.name.starts_with("localhost:");
}

bool runs_milters(const PostfixSite& site, const PostfixService& service) {
  return value_in_force(site, service, "receive_override_options").find("no_milters") ==
         std::string::npos;
}

// What remains of the service's receive_override_options when milters shall run.
std::string other_overrides(const PostfixSite& site, const PostfixService& service) {
  auto options = members(value_in_force(site, service, "receive_override_options"));
  std::erase(options, "no_milters");
  return join(options, ",");
}

void check_main_milters(const config::Config& config, const PostfixSite& site, Findings& findings,
                        const std::string& name) {
  const auto list = members(site.parameter(name));
  if (!has_ours(config, site, site.parameter(name))) {
    findings.problem("postfix",
                     str_cat({name, " does not name our milter at ", config.milter_socket,
                              ": mail passes beside it"}),
                     "add it as the last one (docs/install-postfix.md)");
  } else if (!is_ours(config, site, milter_of(list.back()))) {
    findings.warn("postfix",
                  str_cat({"in ", name, " ", milter_of(list.back()), " stands behind our milter: ",
                           "what it refuses we have diverted already, and it sees our addresses"}),
                  "put our milter last");
  }
}

// A service that users reach: a submission port, or port 25.
void check_door(const config::Config& config, const PostfixSite& site,
                const PostfixService& service, Findings& findings, std::uint64_t& bad) {
  const std::string proxy = value_in_force(site, service, "smtpd_proxy_filter");
  const std::string* milters = own_value(service, "smtpd_milters");
  const bool beside = milters != nullptr && !has_ours(config, site, *milters);
  // What has a proxy filter leaves the milter to the service behind it.
  if (proxy.empty() && (beside || !runs_milters(site, service))) {
    ++bad;
    findings.problem(
        "postfix",
        str_cat({"service ", service.name, " in master.cf ",
                 beside ? "has milters of its own (-o smtpd_milters) without ours"
                        : "runs no milter (receive_override_options = no_milters)",
                 ": its mail passes beside our milter, and only the exported map sends it to a "
                 "peer"}),
        str_cat({"run `postconf -P '", service.name, "/",
                 beside ? str_cat({"smtpd_milters=", without_blanks(*milters), kOursInPostfix})
                        : str_cat({"receive_override_options=", other_overrides(site, service)}),
                 "'` and reload Postfix"}));
  }
  const std::string* restrictions = own_value(service, "smtpd_recipient_restrictions");
  if (restrictions != nullptr && restrictions->find("bsmtp-access") == std::string::npos) {
    ++bad;
    findings.warn(
        "postfix",
        str_cat({"service ", service.name, " in master.cf has its own ",
                 "smtpd_recipient_restrictions: its clients may address *.bsmtp.invalid"}),
        str_cat({"run `postconf -P '", service.name, "/smtpd_recipient_restrictions=",
                 "check_recipient_access,regexp:/etc/postfix/bsmtp-access,",
                 without_blanks(*restrictions), "'` and reload Postfix"}));
  }
  if (!proxy.empty() && runs_milters(site, service)) {
    ++bad;
    findings.problem(
        "postfix",
        str_cat({"service ", service.name, " has smtpd_proxy_filter = ", proxy,
                 ": in front of such a filter a milter cannot change recipients, so that nothing "
                 "is diverted there"}),
        "set receive_override_options=no_milters on it and our milter on the service behind the "
        "filter, or use content_filter instead (docs/neighbours.md)");
  }
}

bool filters_content(const PostfixSite& site) {
  return !site.parameter("content_filter").empty() ||
         std::any_of(site.servers.begin(), site.servers.end(), [](const PostfixService& service) {
           const std::string* value = own_value(service, "content_filter");
           return value != nullptr && !value->empty();
         });
}

// Where a content filter hands mail back: recipients are diverted already.
void check_return(const config::Config& config, const PostfixSite& site,
                  const PostfixService& service, Findings& findings, std::uint64_t& bad) {
  const std::string restrictions = value_in_force(site, service, "smtpd_recipient_restrictions");
  if (restrictions.find("bsmtp-access") != std::string::npos) {
    ++bad;
    findings.problem("postfix",
                     str_cat({"service ", service.name, ", where the content filter hands mail ",
                              "back, refuses the recipients that our milter has diverted"}),
                     str_cat({"run `postconf -P '", service.name,
                              "/smtpd_recipient_restrictions=permit_mynetworks,reject'` and "
                              "reload Postfix"}));
  }
  if (runs_milters(site, service) &&
      has_ours(config, site, value_in_force(site, service, "smtpd_milters"))) {
    ++bad;
    findings.warn("postfix",
                  str_cat({"service ", service.name, ", where the content filter hands mail back, ",
                           "runs our milter a second time, as for a local client"}),
                  str_cat({"run `postconf -P '", service.name,
                           "/receive_override_options=no_unknown_recipient_checks,"
                           "no_header_body_checks,no_milters'` and reload Postfix"}));
  }
}

void check_services(const config::Config& config, const PostfixSite& site, Findings& findings) {
  std::uint64_t bad = 0;
  for (const PostfixService& service : site.servers) {
    if (is_resubmission(config, service)) {
      check_resubmission(site, service, findings);
      continue;
    }
    if (!is_loopback(service)) {
      check_door(config, site, service, findings, bad);
    } else if (filters_content(site)) {
      check_return(config, site, service, findings, bad);
    }
  }
  if (bad == 0) {
    findings.ok("postfix",
                std::to_string(site.servers.size()) + " SMTP services of master.cf looked at");
  }
}

struct Change {
  std::string map;
  std::string to;
};

// As Postfix asks tables: all of them for the address, for it without its extension, for its
// domain; the first answer counts. nullopt when the address stays what it is.
std::optional<Change> change_of(const PostfixSite& site, const std::vector<std::string>& maps,
                                const std::string& address) {
  const std::size_t at = address.rfind('@');
  const std::size_t plus = address.find('+');
  std::vector<std::string> keys{address};
  if (plus < at) {
    keys.push_back(address.substr(0, plus) + address.substr(at));
  }
  keys.push_back(address.substr(at));
  for (const std::string& key : keys) {
    for (const std::string& map : maps) {
      std::string value = site.lookup(map, key);
      if (!value.empty()) {
        const auto results = members(value);  // of a virtual alias several
        const bool same =
            std::any_of(results.begin(), results.end(), [&](const std::string& result) {
              return iequals(result, key) || iequals(result, address);
            });
        return same ? std::nullopt : std::optional(Change{map, std::move(value)});
      }
    }
  }
  return std::nullopt;
}

void check_rewriting(const config::Config& config, const PostfixSite& site, Findings& findings) {
  const std::string back = str_cat({config.user, "+probe@", config.host});
  std::vector<std::string> inbound{config.parcel_address(), back};
  for (const config::Peer& peer : config.peers) {
    inbound.push_back(str_cat({"user%example.com@", peer.pseudo_domain()}));
  }
  const std::vector<std::pair<std::string, std::vector<std::string>>> wanted = {
      {"canonical_maps", inbound},     {"recipient_canonical_maps", inbound},
      {"virtual_alias_maps", inbound}, {"sender_canonical_maps", {back}},
      {"smtp_generic_maps", {back}},
  };
  std::uint64_t bad = 0;
  for (const auto& [name, addresses] : wanted) {
    const auto maps = members(site.parameter(name));
    for (const std::string& address : addresses) {
      const auto change = change_of(site, maps, address);
      if (!change) {
        continue;
      }
      ++bad;
      findings.problem(
          "postfix",
          str_cat({name, " makes ", change->to, " of ", address, " (", change->map, "): ",
                   address == back ? "bounces of our parcels would not come home"
                                   : "the tunnel's mail would go elsewhere"}),
          str_cat({"put a table before it that leaves ", address, " and its like alone: ", name,
                   " = regexp:/etc/postfix/bsmtp-keep, ... (docs/neighbours.md)"}));
    }
  }
  if (bad == 0) {
    findings.ok("postfix", "no canonical, generic or virtual map changes the tunnel's addresses");
  }
}

void check_masquerade(const config::Config& config, const PostfixSite& site, Findings& findings) {
  if (site.parameter("masquerade_classes").find("envelope_sender") == std::string::npos) {
    return;
  }
  for (const std::string& member : members(site.parameter("masquerade_domains"))) {
    const bool except = member.starts_with('!');
    const std::string domain = except ? member.substr(1) : member;
    const bool inside = iends_with(config.host, "." + domain);
    if (except && (inside || iequals(config.host, domain))) {
      return;
    }
    if (inside) {
      findings.problem(
          "postfix",
          str_cat({"masquerade_domains = ... ", domain, " strips our host's name off ", config.user,
                   "+...@", config.host, ": bounces of our parcels would not come home"}),
          str_cat({"write !", config.host, " before ", domain}));
      return;
    }
  }
}

// "[127.0.0.1]:25" and its like: this machine, though perhaps not the instance that has our milter.
bool leads_here(const PostfixSite& site, std::string_view relayhost) {
  const bool bracket = relayhost.starts_with('[');
  const std::string_view host = bracket ? relayhost.substr(1, relayhost.find(']') - 1)
                                        : relayhost.substr(0, relayhost.find(':'));
  const auto own_addresses = members(site.parameter("inet_interfaces"));
  return !host.empty() &&
         (is_loopback_host(host) || iequals(host, site.parameter("myhostname")) ||
          std::any_of(own_addresses.begin(), own_addresses.end(),
                      [&](const std::string& each) { return iequals(each, host); }));
}

void check_instances(const config::Config& config, const PostfixSite& site, Findings& findings) {
  for (const std::string& directory : members(site.parameter("multi_instance_directories"))) {
    const auto names = [&](const std::string& parameter, const std::string& what) {
      return site.elsewhere(directory, parameter).find(what) != std::string::npos;
    };
    if (names("transport_maps", config.export_map) || names("relayhost", config.host)) {
      findings.ok("postfix", "instance " + directory + " leaves tunneled mail to the gateway");
      continue;
    }
    if (site.elsewhere(directory, "multi_instance_enable") == "no" ||
        leads_here(site, site.elsewhere(directory, "relayhost"))) {
      findings.warn(
          "postfix",
          str_cat({"instance ", directory, " of multi_instance_directories does not know ",
                   config.export_map, "; it is not enabled, or relays to this machine"}),
          "see that its mail reaches the instance with our milter before it is enabled "
          "(docs/neighbours.md)");
      continue;
    }
    findings.problem(
        "postfix",
        str_cat({"instance ", directory, " of multi_instance_directories does not know ",
                 config.export_map, ": its mail for a tunneled domain leaves directly"}),
        str_cat({"run `postconf -c ", directory, " -e 'relayhost = [", config.host,
                 "]'` so that it hands its mail to this instance, or put the exported map first in "
                 "its transport_maps (docs/neighbours.md)"}));
  }
}

}  // namespace

void check_postfix(const config::Config& config, const PostfixSite& site, Findings& findings) {
  check_main_milters(config, site, findings, "smtpd_milters");
  check_main_milters(config, site, findings, "non_smtpd_milters");
  check_services(config, site, findings);
  check_rewriting(config, site, findings);
  check_masquerade(config, site, findings);
  check_instances(config, site, findings);
}

}  // namespace bsmtp::mda::ctl
