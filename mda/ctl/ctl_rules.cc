#include "mda/ctl/ctl_rules.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/export_map.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda {
namespace {

using ctl::Json;
using ctl::Table;
using rewrite::Decision;
using rewrite::Kind;

constexpr std::string_view kind_word(Kind kind) {
  switch (kind) {
    case Kind::kLeave:
      return "leave";
    case Kind::kDivert:
      return "divert";
    case Kind::kExempt:
      return "exempt";
    case Kind::kError:
      return "error";
  }
  return "?";
}

Status check_channel(const config::Config& config, const std::string& name) {
  std::vector<std::string> known = {
      std::string(rewrite::kChannelLocal), std::string(rewrite::kChannelSmtp),
      std::string(rewrite::kChannelAuth), std::string(rewrite::kChannelGateway)};
  for (const config::Peer& peer : config.peers) {
    known.push_back(peer.channel);
  }
  for (const std::string& channel : known) {
    if (iequals(channel, name)) {
      return Status::ok();
    }
  }
  return Status::permanent("5.5.4", "--from " + printable(name) +
                                        ": no such source channel; there are " + join(known, ", "));
}

void print_test(const RulesTestOptions& options, const Decision& decision,
                const rewrite::Trace& trace, std::ostream& out) {
  out << printable(options.address) << " from channel " << printable(options.from) << "\n\n";
  Table table({"PROBE", "RULE", "AT", "RESULT"});
  for (const rewrite::Step& step : trace.steps) {
    table.add({printable(step.probe), printable(step.rule), printable(step.where),
               printable(step.result)});
  }
  if (!table.empty()) {
    table.print(out);
    out << "\n";
  }
  out << "result: " << kind_word(decision.kind) << ": " << printable(decision.reason) << "\n";
  if (!decision.rewritten.empty()) {
    out << "rewritten: " << printable(decision.rewritten) << "\n";
    out << "routing system: " << printable(decision.routing_system) << "\n";
  }
  if (decision.kind == Kind::kDivert) {
    out << "peer: " << decision.peer->name << "\n";
    out << "recipient becomes: " << printable(decision.diverted) << "\n";
  }
  out << "look-ups: " << trace.lookups << " in " << trace.rounds
      << (trace.rounds == 1 ? " round\n" : " rounds\n");
}

std::string test_json(const RulesTestOptions& options, const Decision& decision,
                      const rewrite::Trace& trace) {
  Json json;
  json.object()
      .field("address", options.address)
      .field("from", options.from)
      .field("result", kind_word(decision.kind))
      .field("reason", decision.reason);
  json.field("rewritten", decision.rewritten).field("routing_system", decision.routing_system);
  json.field("peer", decision.peer == nullptr ? "" : decision.peer->name);
  json.field("diverted", decision.diverted);
  if (decision.kind == Kind::kError) {
    json.field("code", decision.code).field("text", decision.text);
  }
  json.count("lookups", trace.lookups).count("rounds", trace.rounds);
  json.key("steps").array();
  for (const rewrite::Step& step : trace.steps) {
    json.object()
        .field("probe", step.probe)
        .field("rule", step.rule)
        .field("where", step.where)
        .field("result", step.result)
        .end();
  }
  json.end().end();
  return json.text();
}

std::string export_json(const rewrite::Export& map) {
  Json json;
  json.object().key("entries").array();
  for (const rewrite::ExportEntry& entry : map.entries) {
    json.object()
        .field("key", entry.key)
        .field("peer", entry.peer)
        .field("where", entry.where)
        .end();
  }
  json.end().key("left_out").array();
  for (const std::string& line : map.left_out) {
    json.string(line);
  }
  json.end().end();
  return json.text();
}

}  // namespace

rewrite::Options rule_options(const config::Config& config) {
  rewrite::Options options;
  options.host = config.host;
  options.user = config.user;
  options.own_domains = config.own_domains;
  options.pass_tags = config.pass_tags;
  for (const config::Peer& peer : config.peers) {
    options.peers.push_back(rewrite::PeerInfo{peer.name, peer.tag, peer.channel, peer.host,
                                              peer.user, peer.state == config::PeerState::kOn});
  }
  return options;
}

Status rules_test(const config::Config& config, const RulesTestOptions& options,
                  std::ostream& out) {
  TRY(check_channel(config, options.from));
  TRY_ASSIGN(const auto rules, rewrite::RuleSet::load(config.rewrite_rules, rule_options(config)));
  rewrite::Query query;
  query.address = options.address;
  query.source_channel = options.from;
  query.envelope = !options.header;
  query.forward = !options.backward;
  query.notify_never = options.notify_never;
  rewrite::Trace trace;
  const Decision decision = classify(*rules, query, &trace);
  if (options.json) {
    out << test_json(options, decision, trace);
    return Status::ok();
  }
  print_test(options, decision, trace, out);
  for (const std::string& warning : rules->warnings()) {
    out << "warning: " << printable(warning) << "\n";
  }
  return Status::ok();
}

namespace {

// The command line's word, else the configuration's.
Result<rewrite::ExportOptions> export_options_of(const config::Config& config,
                                                 const RulesExportOptions& options) {
  rewrite::ExportOptions out{options.transport, options.nexthop, options.direct, false};
  if (!options.transport.empty()) {
    return out;
  }
  const std::string& route = config.export_transport;
  const std::size_t colon = route.find(':');
  if (colon == 0 || colon == std::string::npos ||
      route.find_first_of(" \t,") != std::string::npos) {
    return Status::permanent("5.5.4", "export-transport is TRANSPORT:NEXTHOP, not '" +
                                          printable(route, 200) + "'; correct it in bsmtp.conf");
  }
  out.transport = route.substr(0, colon);
  if (out.nexthop.empty()) {
    out.nexthop = route.substr(colon + 1);
  }
  return out;
}

}  // namespace

Status rules_export(const config::Config& config, const RulesExportOptions& options,
                    std::ostream& out) {
  if (options.write && (options.regexp || !options.output.empty())) {
    return Status::permanent("5.5.4", "--write writes the table to " +
                                          printable(config.export_map) +
                                          "; it does not go with --regexp or --output");
  }
  if (options.sendmail &&
      (options.regexp || !options.nexthop.empty() || !options.transport.empty())) {
    return Status::permanent("5.5.4",
                             "--regexp, --transport and --nexthop are Postfix'; they do "
                             "not go with --sendmail");
  }
  TRY_ASSIGN(const auto rules, rewrite::RuleSet::load(config.rewrite_rules, rule_options(config)));
  TRY_ASSIGN(const rewrite::ExportOptions export_options, export_options_of(config, options));
  const rewrite::Export map =
      options.sendmail ? export_sendmail(*rules) : export_postfix(*rules, export_options);
  const std::string text =
      options.regexp ? export_postfix_regexp(*rules, options.direct) : map.text;
  const std::string path = options.write ? config.export_map : options.output;
  if (!path.empty()) {
    const ctl::PublicFiles readable_by_all;  // bsmtp-out looks there too
    TRY(rewrite::write_map_file(path, text));
  }
  if (options.json) {
    out << export_json(map);
  } else if (path.empty()) {
    out << text;
  } else {
    out << path << ": " << map.entries.size() << " entries, " << map.left_out.size()
        << " rules that no table can express"
        << (map.left_out.empty() ? "" : " (comments in the file name them)") << "\n";
  }
  return Status::ok();
}

}  // namespace bsmtp::mda
