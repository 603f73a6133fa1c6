// bsmtpctl rules test|export: shows what the rewrite rules do with an address, and writes the
// static MTA map. Reads configuration and rule files, changes nothing but the map file that
// rules_export() is told to write. Output goes to `out`; failures are the returned Status.
#pragma once

#include <ostream>
#include <string>

#include "common/base/status.h"
#include "common/config/config.h"
#include "common/rewrite/rules.h"

namespace bsmtp::mda {

// What the rule engine needs of the configuration.
rewrite::Options rule_options(const config::Config& config);

struct RulesTestOptions {
  std::string address;
  std::string from = "tcp_local";  // --from CHANNEL: l, tcp_local, tcp_auth, bsin_gateway, bsout_*
  bool header = false;             // --header: $B instead of $E
  bool backward = false;           // --backward: $R instead of $F
  bool notify_never = false;       // --never
  bool json = false;
};
// Every probe, why it failed, and the result. Fails (4.3.5) when the rules cannot be loaded,
// (5.5.4, usage) for an unknown channel.
Status rules_test(const config::Config& config, const RulesTestOptions& options, std::ostream& out);

struct RulesExportOptions {
  bool sendmail = false;     // --sendmail: makemap(8) source instead of a Postfix table
  bool regexp = false;       // --regexp: the regexp_table(5) companion instead
  bool write = false;        // --write: to config.export_map, atomically, not to `out`
  std::string output;        // --output F: to F, atomically
  std::string transport;     // --transport, "" = both as config.export_transport says
  std::string nexthop;       // --nexthop, "" = the peer's pseudo-domain
  std::string direct = ":";  // --direct: what exempt addresses get, e.g. "smtp:"
  bool json = false;         // entries and what was left out, as JSON, on `out`
};
// --postfix or --sendmail. Without write and output the map itself goes to `out`.
Status rules_export(const config::Config& config, const RulesExportOptions& options,
                    std::ostream& out);

}  // namespace bsmtp::mda
