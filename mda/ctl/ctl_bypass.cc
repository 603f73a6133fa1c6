// bsmtpctl peer bypass: a peer's waiting mail to the host MTA, without the tunnel. What it is
// careful about is that the MTA does not divert the mail again: neither the rules of a peer that is
// on, nor the exported map, nor the milter that runs may lead a recipient to the peer.
#include <memory>
#include <optional>
#include <set>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/os/file_ops.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/export_map.h"
#include "common/rewrite/tunnel_address.h"
#include "mda/bypass/bypass.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/ctl/ctl_output.h"
#include "mda/ctl/ctl_rules.h"
#include "mda/ctl/ctl_socketmap.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr const char* kRemedy =
    "; set `state = stopping` (or off) for it, run `bsmtpctl rules export --write` (with sendmail "
    "makemap after it), reload bsmtp-milter and bsmtp-dispatch, then call this again";

Status would_come_back(const std::string& peer, const std::string& what) {
  return Status::permanent(
      "5.4.6", str_cat({"mail for ", peer, " would come back into the tunnel: ", what, kRemedy}));
}

// Asked for every message: would the MTA divert one of its recipients to this peer?
class LoopGuard {
 public:
  LoopGuard(const config::Config& config, const config::Peer& peer)
      : config_(config), peer_(peer) {}

  // What need not be asked per address. Permanent 5.4.6.
  Status open() {
    if (peer_.state == config::PeerState::kOn) {
      TRY_ASSIGN(rules_, rewrite::RuleSet::load(config_.rewrite_rules, rule_options(config_)));
    }
    TRY_ASSIGN(const bool exported, os::exists(os::real_file_ops(), config_.export_map));
    if (exported) {
      auto map = rewrite::ExportedMap::open(config_.export_map);
      if (!map.is_ok()) {
        return map.status();
      }
      map_.emplace(std::move(map).value());
    }
    return Status::ok();
  }

  Status check(const mail::Envelope& envelope) {
    for (const mail::Recipient& recipient : envelope.recipients) {
      TRY(ask_rules(recipient.address));
      const std::string domain =
          to_lower(recipient.address.substr(recipient.address.rfind('@') + 1));
      if (!seen_.insert(domain).second) {
        continue;
      }
      const auto leads = map_ ? map_->find(domain) : std::nullopt;
      if (leads && *leads == peer_.name) {
        return would_come_back(peer_.name, str_cat({config_.export_map, " still leads ",
                                                    printable(domain, 200), " there"}));
      }
      TRY(ask_milter(recipient.address));
    }
    return Status::ok();
  }

 private:
  // While the peer's state is `on`, the rules divert what they say.
  Status ask_rules(const std::string& address) const {
    if (!rules_) {
      return Status::ok();
    }
    for (const auto channel : {rewrite::kChannelLocal, rewrite::kChannelSmtp}) {
      rewrite::Query query;
      query.address = address;
      query.source_channel = channel;
      const auto decision = classify(*rules_, query);
      if (decision.kind == rewrite::Kind::kDivert && decision.peer->name == peer_.name) {
        return would_come_back(peer_.name, str_cat({"its state is `on` and the rules divert ",
                                                    printable(address, 200)}));
      }
    }
    return Status::ok();
  }
  // A milter that has not read the new configuration; only where it offers a map to ask.
  Status ask_milter(const std::string& address) const {
    if (config_.socketmap_socket.empty()) {
      return Status::ok();
    }
    const auto answer = ask_socketmap(config_.socketmap_socket, "bsmtp_rules", address);
    if (!answer.is_ok()) {
      return Status::ok();  // it cannot be asked (by this user); the MTA then keeps the mail at
                            // worst
    }
    return answer->starts_with("OK ") && iends_with(*answer, rewrite::pseudo_domain(peer_.name))
               ? would_come_back(peer_.name, str_cat({"the bsmtp-milter that runs still diverts ",
                                                      printable(address, 200)}))
               : Status::ok();
  }

  const config::Config& config_;
  const config::Peer& peer_;
  std::shared_ptr<const rewrite::RuleSet> rules_;
  std::optional<rewrite::ExportedMap> map_;
  std::set<std::string> seen_;
};

void lines_json(Json& json, const char* name, const std::vector<BypassLine>& lines) {
  json.key(name).array();
  for (const BypassLine& line : lines) {
    json.object().field("item", line.item).field("parcel", line.parcel);
    json.field("sender", line.sender).key("recipients").array();
    for (const std::string& recipient : line.recipients) {
      json.string(recipient);
    }
    json.end().field("why", line.why).end();
  }
  json.end();
}

void print_json(std::ostream& out, const std::string& peer, bool dry_run,
                const BypassReport& report) {
  Json json;
  json.object().field("peer", peer).flag("dry_run", dry_run);
  json.count("messages", report.messages).count("recipients", report.recipients);
  lines_json(json, "maybe_arrived", report.maybe_arrived);
  lines_json(json, "left", report.left);
  json.key("busy").array();
  for (const std::string& id : report.busy) {
    json.string(id);
  }
  json.end().field("stopped", report.stopped.is_ok() ? "" : report.stopped.to_string());
  out << json.end().text();
}

void print_lines(std::ostream& out, const char* heading, const std::vector<BypassLine>& lines) {
  if (lines.empty()) {
    return;
  }
  out << heading << "\n";
  for (const BypassLine& line : lines) {
    out << "  " << line.item << (line.parcel.empty() ? "" : " of parcel " + line.parcel) << "  <"
        << printable(line.sender, 320) << "> ->";
    for (const std::string& recipient : line.recipients) {
      out << " <" << printable(recipient, 320) << ">";
    }
    out << "\n      " << printable(line.why, 500) << "\n";
  }
}

void print_text(std::ostream& out, const std::string& peer, bool dry_run,
                const BypassReport& report) {
  print_lines(
      out, "May have arrived by the tunnel already, so perhaps twice now:", report.maybe_arrived);
  print_lines(out, "Left waiting:", report.left);
  for (const std::string& id : report.busy) {
    out << "parcel " << id << " is being worked on by bsmtp-dispatch; not touched\n";
  }
  out << report.messages << " messages of peer " << peer << " for " << report.recipients
      << " recipients " << (dry_run ? "would be handed" : "handed") << " to the host MTA, "
      << report.maybe_arrived.size() << " of them perhaps for the second time, "
      << report.left.size() << " left waiting\n";
}

}  // namespace

Result<int> peer_bypass(Context& context, const Arguments& arguments) {
  const config::Config& config = *context.config;
  const config::Peer* peer = config.peer_for_argument(arguments.word(0));
  if (peer == nullptr) {
    return Status::permanent("5.1.1", str_cat({"no peer ", printable(arguments.word(0), 60),
                                               "; `bsmtpctl peer list` shows them"}));
  }
  LoopGuard guard(config, *peer);
  TRY(guard.open());
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  if (arguments.has("unacknowledged")) {
    const auto unread = spool.ops().list(spool.paths().inbound_receipts());
    if (unread.is_ok() && !unread->empty()) {
      context.err << "bsmtpctl: " << unread->size()
                  << " receipts of peers are not read yet; a run of bsmtp-dispatch first would "
                     "spare mail from going twice\n";
    }
  }
  log::use_syslog_and_stderr("bsmtpctl");
  log::set_level(log::level_from(config.log_level));
  HostMta mta({config.submit, config.host, config.smtp_timeout});
  BypassOptions options;
  options.peer = peer->name;
  options.unacknowledged = arguments.has("unacknowledged");
  options.dry_run = arguments.has("dry-run");
  options.guard = [&guard](const mail::Envelope& envelope) { return guard.check(envelope); };
  options.progress = [&context, told = std::uint64_t{0}](std::uint64_t handed) mutable {
    if (handed >= told + 1000) {
      told = handed;
      context.err << "bsmtpctl: " << handed << " messages handed over\n" << std::flush;
    }
  };
  // Without the ledger, which the dispatcher writes: it looks there before it sends a notice.
  NoticeStore notices(spool, nullptr);
  auto report = Bypass(config, spool, mta, notices, context.clock, options).run();
  if (!report.is_ok()) {
    return report.status();
  }
  if (context.json) {
    print_json(context.out, peer->name, options.dry_run, *report);
  } else {
    print_text(context.out, peer->name, options.dry_run, *report);
  }
  if (!report->stopped.is_ok()) {
    return report->stopped;
  }
  return report->left.empty() && report->busy.empty() ? kExitOk : kExitProblem;
}

}  // namespace bsmtp::mda::ctl
