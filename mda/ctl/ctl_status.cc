// bsmtpctl status: the whole gateway on one page, and with --check a yes or no for monitoring.
#include <algorithm>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/os/file_ops.h"
#include "common/spool/accepted_parcel.h"
#include "common/spool/heartbeat.h"
#include "common/spool/parcel_dir.h"
#include "common/spool/receipt_times.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/ctl/ctl_output.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda::ctl {
namespace {

struct PeerStatus {
  std::string name;
  std::uint64_t waiting = 0;
  std::optional<TimePoint> oldest;
  std::map<std::string, std::uint64_t> stages;
  std::optional<TimePoint> full;
  std::vector<std::string> damaged;  // parcels in ready/ that nobody can submit
  std::optional<TimePoint> oldest_ready;
  // Peers with receipts: parcels in sent/ that await one, those that wait for a human, since when
  // the oldest of them is out, and when a receipt last came.
  std::uint64_t unacknowledged = 0;
  std::uint64_t undecided = 0;
  std::optional<TimePoint> oldest_handed;
  std::optional<TimePoint> last_receipt;
};

struct Overview {
  std::vector<PeerStatus> peers;
  std::map<std::string, std::uint64_t> inbound;  // accepted, deferred, returns, notices
  std::vector<std::string> damaged;              // accepted or deferred: PATH: what is wrong
  std::optional<TimePoint> oldest_accepted;
  std::optional<TimePoint> oldest_deferred;
  std::uint64_t quarantined = 0;
  spool::QuarantineCounters counters;
  std::optional<TimePoint> heartbeat;
  bool clock_doubted = false;
  unsigned free_percent = 100;
  std::vector<std::string> problems;
};

Result<std::uint64_t> count_entries(os::FileOps& ops, const std::string& directory) {
  TRY_ASSIGN(const auto names, ops.list(directory));
  return names.size();
}

void look_at_ready(const spool::Spool& spool, PeerStatus& peer) {
  const auto ids = spool.list_parcels(peer.name, spool::Stage::kReady);
  for (const std::string& id : ids.is_ok() ? *ids : std::vector<std::string>{}) {
    const auto state = spool::ParcelDir::peek_state(spool, peer.name, spool::Stage::kReady, id);
    const std::string path = spool.paths().parcel(peer.name, spool::Stage::kReady, id);
    if (!state.is_ok() || state->get("token").empty()) {
      if (spool.ops().stat(path).is_ok()) {  // else it was sent meanwhile
        peer.damaged.push_back(id);
      }
    }
    const auto made = id_time(id);
    const bool again = state.is_ok() && state->has("handed");
    if (made && !again && (!peer.oldest_ready || *made < *peer.oldest_ready)) {
      peer.oldest_ready = made;
    }
  }
}

Status add_receipts(const spool::Spool& spool, PeerStatus& peer) {
  TRY_ASSIGN(const auto ids, spool.list_parcels(peer.name, spool::Stage::kSent));
  for (const std::string& id : ids) {
    const auto state = spool::ParcelDir::peek_state(spool, peer.name, spool::Stage::kSent, id);
    if (!state.is_ok() || receipt_word(*state).empty()) {
      continue;
    }
    ++peer.unacknowledged;
    peer.undecided += state->has("held") ? 1U : 0U;
    const auto handed = state->get_time("handed");
    if (handed && (!peer.oldest_handed || *handed < *peer.oldest_handed)) {
      peer.oldest_handed = handed;
    }
  }
  TRY_ASSIGN(const auto times, spool::read_receipt_times(spool, peer.name));
  if (times) {
    peer.last_receipt = times->last;
  }
  return Status::ok();
}

Result<PeerStatus> peer_status(const spool::Spool& spool, const std::string& name) {
  PeerStatus peer;
  peer.name = name;
  TRY_ASSIGN(const auto waiting, spool.list_incoming(name));
  peer.waiting = waiting.size();
  if (!waiting.empty()) {
    peer.oldest = id_time(waiting.front());
  }
  for (const spool::Stage stage : spool::kStages) {
    TRY_ASSIGN(const auto ids, spool.list_parcels(name, stage));
    peer.stages[std::string(spool::stage_name(stage))] = ids.size();
  }
  // Single messages lie there, not parcels.
  TRY_ASSIGN(peer.stages["held"],
             count_entries(spool.ops(), spool.paths().stage(name, spool::Stage::kHeld)));
  look_at_ready(spool, peer);
  return peer;
}

// A parcel that a dispatcher takes away meanwhile is no problem.
Status look_at_accepted(const spool::Spool& spool, const std::string& directory, Overview& status,
                        std::optional<TimePoint>& oldest) {
  TRY_ASSIGN(const auto names, spool.ops().list(directory));
  for (const std::string& name : names) {
    const std::string path = str_cat({directory, "/", name});
    const auto parcel = spool::AcceptedParcel::load(spool.ops(), path);
    if (!parcel.is_ok()) {
      if (spool.ops().stat(path).is_ok()) {
        status.damaged.push_back(str_cat({path, ": ", parcel.status().text()}));
      }
      continue;
    }
    if (!oldest || parcel->meta().accepted < *oldest) {
      oldest = parcel->meta().accepted;
    }
    if (const auto damaged = parcel->deferral().damaged; damaged != 0) {
      status.damaged.push_back(str_cat({path, ": ", std::to_string(damaged),
                                        " of its messages cannot be read or are not as they were "
                                        "accepted; the log names them"}));
    }
  }
  return Status::ok();
}

void find_parcel_problems(const PeerStatus& peer, std::chrono::seconds patience, TimePoint now,
                          std::vector<std::string>& problems) {
  const auto count = [&](const char* stage) { return peer.stages.at(stage); };
  if (peer.full) {
    problems.push_back("peer " + peer.name + ": its queue is full since " + time_text(*peer.full) +
                       " (max-queued, max-queued-bytes); bsmtp-out "
                       "leaves new mail with the MTA");
  }
  if (count("held") != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(count("held")),
                                " damaged messages set aside in held/; look at the files, tell "
                                "their senders, remove them"}));
  }
  if (count("failed") != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(count("failed")),
                                " failed parcels; see `bsmtpctl parcel show ID`"}));
  }
  if (peer.oldest_ready && now - *peer.oldest_ready > patience) {
    problems.push_back("peer " + peer.name + ": a parcel is ready for " +
                       age_text(*peer.oldest_ready, now) +
                       " and not handed over; see `bsmtpctl parcel list` and the log");
  }
  for (const std::string& id : peer.damaged) {
    problems.push_back("peer " + peer.name + ": parcel " + id +
                       " in ready/ has no readable state; restore the file");
  }
}

void find_inbound_problems(const config::Config& config, TimePoint now, Overview& status) {
  if (status.oldest_accepted && now - *status.oldest_accepted > config.retry_maximum) {
    status.problems.push_back("accepted mail waits for delivery since " +
                              time_text(*status.oldest_accepted) +
                              "; see `bsmtpctl parcel list` and the log");
  }
  if (status.oldest_deferred &&
      now - *status.oldest_deferred > config.delivery_expire + config.retry_maximum) {
    status.problems.push_back("mail accepted on " + time_text(*status.oldest_deferred) +
                              " is past delivery-expire and cannot be settled; see `bsmtpctl "
                              "parcel list` and the alarms in the log");
  }
  status.problems.insert(status.problems.end(), status.damaged.begin(), status.damaged.end());
}

void find_receipt_problems(const PeerStatus& peer, std::chrono::seconds resend_after, TimePoint now,
                           std::vector<std::string>& problems) {
  if (peer.undecided != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(peer.undecided),
                                " parcels have expired and no receipt ever came; `bsmtpctl "
                                "parcel list`, then parcel resend, release or fail"}));
  } else if (peer.oldest_handed && now - *peer.oldest_handed > 2 * resend_after) {
    problems.push_back(
        str_cat({"peer ", peer.name, ": no receipt for ", std::to_string(peer.unacknowledged),
                 " parcels since ", age_text(*peer.oldest_handed, now),
                 "; ask its admin, see `bsmtpctl parcel list`"}));
  }
}

void find_problems(const config::Config& config, TimePoint now, Overview& status) {
  auto& problems = status.problems;
  if (!status.heartbeat) {
    problems.emplace_back("no dispatcher has ever run on this spool; start bsmtp-dispatch");
  } else if (now - *status.heartbeat > 4 * config.heartbeat + std::chrono::seconds(60)) {
    problems.push_back("the dispatcher's last sign of life is " + age_text(*status.heartbeat, now) +
                       " old; look for bsmtp-dispatch in the "
                       "service manager and the mail log");
  }
  if (status.clock_doubted) {
    problems.emplace_back(
        "the dispatcher doubts the clock and stands still; set it right, or `bsmtpctl clock "
        "accept`");
  }
  for (const PeerStatus& peer : status.peers) {
    const config::Peer* known = config.find_peer(peer.name);
    const auto patience =
        (known == nullptr ? std::chrono::seconds(0) : known->max_age) + config.retry_maximum;
    if (peer.oldest && now - *peer.oldest > patience) {
      problems.push_back("peer " + peer.name + ": the oldest message has waited " +
                         age_text(*peer.oldest, now) + "; see `bsmtpctl parcel list`");
    }
    find_receipt_problems(peer, config.resend_after, now, problems);
    find_parcel_problems(peer, config.retry_maximum, now, problems);
  }
  find_inbound_problems(config, now, status);
  if (status.free_percent < config.free_percent_quarantine) {
    problems.push_back("only " + std::to_string(status.free_percent) +
                       " % of the spool's file system is free; make room");
  }
}

Result<Overview> collect(const Context& context) {
  const config::Config& config = *context.config;
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  os::FileOps& ops = spool.ops();
  Overview status;
  TRY_ASSIGN(const auto peers, spool.peers());
  for (const std::string& name : peers) {
    TRY_ASSIGN(auto peer, peer_status(spool, name));
    const config::Peer* known = config.find_peer(name);
    if (known != nullptr && known->wants_receipts()) {
      TRY(add_receipts(spool, peer));
    }
    status.peers.push_back(std::move(peer));
  }
  const spool::Paths& paths = spool.paths();
  TRY_ASSIGN(status.inbound["accepted"], count_entries(ops, paths.accepted()));
  TRY_ASSIGN(status.inbound["deferred"], count_entries(ops, paths.deferred()));
  TRY(look_at_accepted(spool, paths.accepted(), status, status.oldest_accepted));
  TRY(look_at_accepted(spool, paths.deferred(), status, status.oldest_deferred));
  TRY_ASSIGN(status.inbound["returns"], count_entries(ops, paths.returns()));
  TRY_ASSIGN(status.inbound["notices"], count_entries(ops, paths.notices_ready()));
  TRY_ASSIGN(const auto quarantine, open_quarantine(ops, config));
  TRY_ASSIGN(const auto held, spool::list_ids(ops, quarantine.directory()));
  status.quarantined = held.size();
  TRY_ASSIGN(status.counters, quarantine.counters());
  TRY_ASSIGN(const auto beat, spool::read_heartbeat(spool));
  if (beat) {
    status.heartbeat = beat->time;
    for (PeerStatus& peer : status.peers) {
      const auto full = beat->full.find(peer.name);
      peer.full = full == beat->full.end() ? std::nullopt : std::optional(full->second);
    }
    status.clock_doubted = beat->believed.has_value();
  }
  TRY_ASSIGN(const os::FileSystemInfo disk, ops.file_system(spool.root()));
  status.free_percent = disk.free_percent;
  find_problems(config, context.clock.now(), status);
  return status;
}

void print_json(std::ostream& out, const Overview& status) {
  Json json;
  json.object().field("heartbeat", status.heartbeat ? time_text(*status.heartbeat) : "");
  json.count("free_percent", status.free_percent).key("peers").array();
  for (const PeerStatus& peer : status.peers) {
    json.object()
        .field("peer", peer.name)
        .count("waiting", peer.waiting)
        .field("oldest", peer.oldest ? time_text(*peer.oldest) : "");
    for (const auto& [stage, n] : peer.stages) {
      json.count(stage, n);
    }
    json.count("unacknowledged", peer.unacknowledged)
        .count("undecided", peer.undecided)
        .field("last_receipt", peer.last_receipt ? time_text(*peer.last_receipt) : "")
        .end();
  }
  json.end().key("inbound").object();
  for (const auto& [name, n] : status.inbound) {
    json.count(name, n);
  }
  json.end()
      .key("quarantine")
      .object()
      .count("entries", status.quarantined)
      .count("quarantined", status.counters.quarantined)
      .count("shapeless", status.counters.shapeless)
      .count("shed", status.counters.shed)
      .count("evicted", status.counters.evicted)
      .end()
      .key("problems")
      .array();
  for (const std::string& problem : status.problems) {
    json.string(problem);
  }
  out << json.end().end().text();
}

void print_page(std::ostream& out, const Overview& status, TimePoint now) {
  out << "dispatcher  "
      << (status.heartbeat ? "last sign of life " + age_text(*status.heartbeat, now) + " ago"
                           : "never ran on this spool")
      << "\ndisk        " << status.free_percent << " % free\n\n";
  Table table({"PEER", "WAITING", "OLDEST", "BUILDING", "READY", "SENT", "HELD", "FAILED",
               "UNACKNOWLEDGED"});
  for (const PeerStatus& peer : status.peers) {
    std::vector<std::string> row = {peer.name, std::to_string(peer.waiting),
                                    peer.oldest ? age_text(*peer.oldest, now) : "-"};
    for (const char* stage : {"building", "ready", "sent", "held", "failed"}) {
      row.push_back(std::to_string(peer.stages.at(stage)));
    }
    row.push_back(std::to_string(peer.unacknowledged));
    table.add(std::move(row));
  }
  table.print(out);
  out << "\ninbound     " << status.inbound.at("accepted") << " accepted, "
      << status.inbound.at("deferred") << " deferred, " << status.inbound.at("returns")
      << " returns\nnotices     " << status.inbound.at("notices") << " to send\nquarantine  "
      << status.quarantined << " kept (" << status.counters.quarantined << " ever), "
      << status.counters.shapeless << " that were no parcels dropped, " << status.counters.shed
      << " shed\n";
  for (const std::string& problem : status.problems) {
    out << "PROBLEM: " << problem << "\n";
  }
}

}  // namespace

Result<int> status_show(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Overview status, collect(context));
  if (context.json) {
    print_json(context.out, status);
  } else {
    print_page(context.out, status, context.clock.now());
  }
  return arguments.has("check") && !status.problems.empty() ? kExitProblem : kExitOk;
}

}  // namespace bsmtp::mda::ctl
