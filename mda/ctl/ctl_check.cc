#include "mda/ctl/ctl_check.h"

#include <algorithm>
#include <map>
#include <memory>

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/os/file_ops.h"
#include "common/rewrite/export_map.h"
#include "common/rewrite/rules.h"
#include "mda/ctl/ctl_listeners.h"
#include "mda/ctl/ctl_postfix.h"
#include "mda/ctl/ctl_process.h"
#include "mda/ctl/ctl_rules.h"
#include "mda/ctl/ctl_sendmail.h"

namespace bsmtp::mda::ctl {
namespace {

// Postfix time values: a number and s, m, h, d or w, as our own durations.
std::optional<std::chrono::seconds> mta_time(const MtaParameter& mta, const std::string& name) {
  const auto value = parse_duration(mta(name));
  return value.is_ok() ? std::optional(*value) : std::nullopt;
}

// One inequality between two times.
struct Order {
  std::string shorter_name;
  std::chrono::seconds shorter;
  std::string longer_name;
  std::chrono::seconds longer;
  std::string reason;
  bool serious = true;
};

void judge(const Order& order, Findings& findings, std::uint64_t& bad) {
  if (order.shorter <= order.longer) {
    return;
  }
  ++bad;
  const std::string text =
      str_cat({order.shorter_name, " = ", format_duration(order.shorter), " is longer than ",
               order.longer_name, " = ", format_duration(order.longer), ": ", order.reason});
  const std::string remedy =
      str_cat({"lower ", order.shorter_name, " or raise ", order.longer_name});
  if (order.serious) {
    findings.problem("timers", text, remedy);
  } else {
    findings.warn("timers", text, remedy);
  }
}

std::vector<Order> own_orders(const config::Config& c) {
  return {
      {"heartbeat", 4 * c.heartbeat, "accept-while-stalled", c.accept_while_stalled,
       "bsmtp-out would refuse mail although the dispatcher lives (four heartbeats are counted)"},
      {"agent-deadline", c.agent_deadline, "tmp-age", c.tmp_age,
       "a temporary file could be swept while its agent still works"},
      {"quarantine-digest", c.quarantine_digest, "quarantine-age", c.quarantine_age,
       "parcels would leave the quarantine before anyone is told"},
      {"retry-initial", c.retry_initial, "retry-maximum", c.retry_maximum,
       "the back-off cannot begin above its limit"},
      {"retry-maximum", c.retry_maximum, "delivery-expire", c.delivery_expire,
       "a deferred message could expire before its second attempt"},
      {"delay-warning", c.delay_warning, "delivery-expire", c.delivery_expire,
       "senders would be told that mail failed before they hear that it is late"},
      {"delivery-expire", c.delivery_expire, "parcel-lifetime", c.parcel_lifetime,
       "a parcel could be handed to the MTA after it has expired"},
      {"receipt-delay", c.receipt_delay, "resend-after", c.resend_after,
       "parcels would be sent again before their receipts are written"},
      {"receipt-delay", c.receipt_delay, "receipt-grace", c.receipt_grace,
       "the answer to the last question would come when the senders were told already"},
      {"7 * resend-after", 7 * c.resend_after, "parcel-lifetime", c.parcel_lifetime,
       "a parcel would expire before it was sent again three times", false},
      {"receipt-grace", c.receipt_grace, "ledger-retention", c.ledger_retention,
       "a peer that keeps its ledger as long as we do could have forgotten the parcel it is asked "
       "about"},
      {"receipt-delay", c.receipt_delay, "parcel-lifetime", c.parcel_lifetime,
       "a parcel could expire before its receipt is written"},
      {"clock-skew", c.clock_skew, "parcel-lifetime", c.parcel_lifetime,
       "a parcel could be refused as made in the future until it has expired"},
      {"clock-skew", c.clock_skew, "ledger-retention", c.ledger_retention,
       "a parcel could be replayed after the ledger has forgotten it"},
  };
}

// "bsmtp-out-lmtp:unix:private/bsmtp-out-agent": an LMTP transport by its name, or by what only
// such a one has for a nexthop.
bool names_lmtp(std::string_view route) {
  return route.find("lmtp:") != std::string_view::npos ||
         route.find(":unix:") != std::string_view::npos;
}

// Does Postfix reach one of our agents by LMTP? The export-transport says so for bsmtp-out, a text
// table of transport_maps (bsmtp-routes) for bsmtp-in.
bool agents_by_lmtp(const config::Config& c, const MtaParameter& mta) {
  constexpr std::size_t kMaxTable = 1U << 20U;
  if (names_lmtp(c.export_transport)) {
    return true;
  }
  std::string maps = mta("transport_maps");
  std::replace(maps.begin(), maps.end(), ',', ' ');
  for (const std::string_view map : split_blank(maps)) {
    const std::size_t path = map.find(":/");
    if (path == std::string_view::npos) {
      continue;
    }
    const auto table =
        os::read_file(os::real_file_ops(), std::string(map.substr(path + 1)), kMaxTable);
    if (!table.is_ok()) {
      continue;
    }
    for (const std::string_view line : split(*table, '\n')) {
      const auto words = split_blank(line);
      if (words.size() > 1 && !words[0].starts_with('#') && words[1].starts_with("bsmtp-") &&
          names_lmtp(words[1])) {
        return true;
      }
    }
  }
  return false;
}

void check_mta_times(const config::Config& c, const MtaParameter& mta, const MtaNames& names,
                     Findings& findings, std::uint64_t& bad) {
  const auto queue = mta_time(mta, "maximal_queue_lifetime");
  if (queue) {
    judge(
        {"delivery-expire + " + names.queue_lifetime, c.delivery_expire + *queue, "parcel-lifetime",
         c.parcel_lifetime, "the MTA could hand over a parcel that the peer refuses as expired"},
        findings, bad);
    judge({names.queue_lifetime, *queue, "keep-sent", c.keep_sent,
           "a parcel's late bounce would find its senders gone, and nobody would be told", false},
          findings, bad);
    judge({"accept-while-stalled", c.accept_while_stalled, names.queue_lifetime, *queue,
           "mail would be taken from the MTA when its own queue already gave up"},
          findings, bad);
  }
  for (const std::string name : {"bsmtp-in_time_limit", "bsmtp-out_time_limit"}) {
    auto limit = mta_time(mta, name);
    if (!limit) {
      limit = mta_time(mta, "command_time_limit");
    }
    if (limit) {
      judge(
          {"agent-deadline", c.agent_deadline + std::chrono::seconds(30), "Postfix " + name, *limit,
           "Postfix bounces mail whose agent oversteps the limit; the agent must give "
           "up half a minute earlier"},
          findings, bad);
    }
  }
  const auto patience = mta_time(mta, "lmtp_data_done_timeout");
  if (patience && agents_by_lmtp(c, mta)) {
    judge({"agent-deadline", c.agent_deadline + std::chrono::seconds(30),
           "Postfix lmtp_data_done_timeout", *patience,
           "Postfix hands a message over again when its answer comes too late; the agent must give "
           "up half a minute earlier"},
          findings, bad);
  }
}

}  // namespace

std::uint64_t wire_size(std::uint64_t plain) {
  return plain / 57 * 78 + 78 + 16384;
}

MtaParameter postfix_parameters() {
  const std::string postconf = find_program("postconf");
  auto cache = std::make_shared<std::map<std::string, std::string>>();
  return [postconf, cache](const std::string& name) -> std::string {
    if (postconf.empty()) {
      return "";
    }
    const auto known = cache->find(name);
    if (known != cache->end()) {
      return known->second;
    }
    const auto output = run_program({postconf, "-h", name}, true);
    const std::string value = output.is_ok() && output->exit_code == 0
                                  ? std::string(trim(output->output))
                                  : std::string();
    return cache->emplace(name, value).first->second;
  };
}

void check_timers(const config::Config& config, const MtaParameter& mta, Findings& findings,
                  const MtaNames& names) {
  std::uint64_t bad = 0;
  for (const Order& order : own_orders(config)) {
    judge(order, findings, bad);
  }
  check_mta_times(config, mta, names, findings, bad);
  if (config.smtp_timeout < std::chrono::seconds(600)) {
    findings.warn("timers",
                  "smtp-timeout = " + format_duration(config.smtp_timeout) +
                      " is below the 10 minutes that RFC 5321 4.5.3.2.6 asks for",
                  "raise smtp-timeout: a reply that comes later makes a duplicate");
  }
  if (bad == 0) {
    findings.ok("timers", "all inequalities hold");
  }
}

void check_sizes(const config::Config& config, const MtaParameter& mta, Findings& findings,
                 const MtaNames& names) {
  const auto limit = parse_u64(mta("message_size_limit"));
  if (!limit || *limit == 0) {
    findings.ok("sizes",
                limit ? "the MTA has no message size limit"
                      : "no MTA that we know here: compare the parcel size with the MTA's limit");
    return;
  }
  bool good = true;
  for (const config::Peer& peer : config.peers) {
    if (wire_size(peer.max_bytes) > *limit) {
      good = false;
      findings.problem("peer " + peer.name,
                       str_cat({"max-bytes = ", format_size(peer.max_bytes),
                                " can make a parcel of ", std::to_string(wire_size(peer.max_bytes)),
                                " octets; ", names.size_limit, " is ", std::to_string(*limit)}),
                       "lower max-bytes to " + std::to_string((*limit - 16384 - 78) / 78 * 57) +
                           " or raise the MTA's limit on both hosts");
    }
  }
  if (config.max_parcel_bytes < *limit) {
    good = false;
    findings.warn("sizes",
                  str_cat({"max-parcel-bytes = ", format_size(config.max_parcel_bytes),
                           " is below ", names.size_limit, " = ", std::to_string(*limit)}),
                  "raise max-parcel-bytes: the MTA takes parcels that bsmtp-in then refuses");
  }
  if (good) {
    findings.ok("sizes",
                str_cat({"parcels fit into ", names.size_limit, " = ", std::to_string(*limit)}));
  }
}

void check_socket(const config::Config& config, const MtaParameter& mta, Findings& findings) {
  const std::string& socket = config.milter_socket;
  if (socket.rfind("unix:", 0) != 0) {
    findings.ok("milter-socket", socket);
    return;
  }
  const std::string path = socket.substr(5);
  const std::string directory = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  const auto info = os::real_file_ops().stat(directory);
  if (!info.is_ok()) {
    findings.problem("milter-socket", info.status().text(),
                     "make the directory, owned by the milter's user and closed to others");
    return;
  }
  constexpr std::size_t kMaxSocketPath = 107;  // sockaddr_un
  if (path.size() > kMaxSocketPath) {
    findings.problem("milter-socket", path + " is longer than 107 octets", "use a shorter path");
    return;
  }
  const std::string queue = mta("queue_directory");
  if (!queue.empty() && path.rfind(queue + "/", 0) != 0) {
    findings.warn("milter-socket",
                  str_cat({path, " is not below Postfix' queue_directory ", queue,
                           "; a chrooted smtpd cannot see it"}),
                  str_cat({"use unix:", queue, "/bsmtp/milter.sock"}));
    return;
  }
  findings.ok("milter-socket", path);
}

void check_rules(const config::Config& config, Findings& findings, const std::string& flavour) {
  const auto rules = rewrite::RuleSet::load(config.rewrite_rules, rule_options(config));
  if (!rules.is_ok()) {
    findings.problem("rewrite-rules", rules.status().text(),
                     "mend the line; `bsmtpctl rules test ADDRESS` shows the effect");
    return;
  }
  for (const std::string& warning : (*rules)->warnings()) {
    findings.warn("rewrite-rules", warning, "");
  }
  findings.ok("rewrite-rules", std::to_string((*rules)->size()) + " rules in " +
                                   std::to_string((*rules)->files().size()) + " files");
  const std::string remedy = str_cat({"run `bsmtpctl rules export ", flavour, " --write`",
                                      flavour == "--sendmail" ? ", then makemap" : ""});
  const auto map = rewrite::ExportedMap::open(config.export_map);
  if (!map.is_ok()) {
    findings.problem("export-map",
                     map.status().text() +
                         " (without it mail from aliases and forwards passes "
                         "beside the tunnel)",
                     remedy);
    return;
  }
  const auto written = os::real_file_ops().stat(config.export_map);
  for (const std::string& file : (*rules)->files()) {
    const auto changed = os::real_file_ops().stat(file);
    if (written.is_ok() && changed.is_ok() && changed->modified > written->modified) {
      findings.warn("export-map", config.export_map + " is older than " + file, remedy);
      return;
    }
  }
  findings.ok("export-map", std::to_string(map->size()) + " entries");
}

namespace {

// What the host MTA has to do with us, whichever it is.
void check_mta(const config::Config& config, const std::optional<SendmailSite>& sendmail,
               bool offline, Findings& findings) {
  const MtaParameter mta = sendmail ? sendmail_parameters(*sendmail) : postfix_parameters();
  const MtaNames names = sendmail ? sendmail_names() : MtaNames();
  check_timers(config, mta, findings, names);
  check_sizes(config, mta, findings, names);
  check_rules(config, findings, sendmail ? "--sendmail" : "--postfix");
  if (sendmail) {
    check_sendmail(config, *sendmail, findings);
  } else if (const auto postfix = read_postfix()) {
    check_postfix(config, *postfix, findings);
  }
  check_socket(config, mta, findings);
  if (offline) {
    findings.ok("offline", "neither the MTA's listeners nor the socketmap were asked");
    return;
  }
  check_socketmap(config, mta, sendmail, findings);
  check_listeners(config, findings);
}

}  // namespace

std::vector<Finding> check_everything(const std::string& config_file, const CheckScope& scope) {
  Findings findings;
  const auto config = config::load(config_file);
  if (!config.is_ok()) {
    findings.problem("configuration", config.status().text(),
                     "`bsmtpctl config describe` explains every key");
    return findings.take();
  }
  auto sendmail = scope.mta == CheckScope::Mta::kPostfix ? std::nullopt : read_sendmail_cf();
  if (scope.mta == CheckScope::Mta::kSendmail && !sendmail) {
    findings.problem("sendmail", "/etc/mail/sendmail.cf cannot be read or lacks FEATURE(`bsmtp')",
                     "follow docs/install-sendmail.md, then make sendmail.cf anew");
    return findings.take();
  }
  if (scope.mta == CheckScope::Mta::kPostfix && find_program("postconf").empty()) {
    findings.problem("postfix", "there is no postconf: no Postfix is installed here",
                     "install Postfix, or use `bsmtpctl sendmail check`");
    return findings.take();
  }
  if (scope.mta == CheckScope::Mta::kEither) {
    findings.ok("configuration", join(config->files, ", "));
    if (config->peers.empty()) {
      findings.warn("peers", "no peer is configured", "`bsmtpctl peer add NAME --host HOST ...`");
    }
    check_keys(*config, findings);
    check_spool(*config, findings);
    check_sandbox(*config, findings);
  }
  check_mta(*config, sendmail, scope.offline, findings);
  return findings.take();
}

}  // namespace bsmtp::mda::ctl
