// bsmtpctl status: the whole gateway on one page, and with --check a yes or no for monitoring.
#include "mda/ctl/ctl_status.h"

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/ledger/ledger.h"
#include "common/os/file_ops.h"
#include "common/spool/accepted_parcel.h"
#include "common/spool/heartbeat.h"
#include "common/spool/parcel_dir.h"
#include "common/spool/receipt_times.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda::ctl {
namespace {

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

// What the dispatcher has noted of parcels that came from the peers.
Status add_ledger(const std::string& file, Overview& status) {
  TRY_ASSIGN(auto ledger, ledger::Ledger::look_at(file));
  TRY_ASSIGN(const auto waiting, ledger.receipts_waiting());
  TRY_ASSIGN(const auto buried, ledger.tombstones());
  for (PeerStatus& peer : status.peers) {
    for (const ledger::ReceiptsWaiting& due : waiting) {
      if (due.peer == peer.name) {
        peer.receipts_due = due.count;
        peer.oldest_due = due.oldest;
      }
    }
    const auto found = buried.find(peer.name);
    peer.tombstones = found == buried.end() ? 0 : found->second;
  }
  return Status::ok();
}

Status count_inbound(const spool::Spool& spool, Overview& status) {
  os::FileOps& ops = spool.ops();
  const spool::Paths& paths = spool.paths();
  TRY_ASSIGN(status.inbound["accepted"], count_entries(ops, paths.accepted()));
  TRY_ASSIGN(status.inbound["deferred"], count_entries(ops, paths.deferred()));
  TRY_ASSIGN(status.inbound["returns"], count_entries(ops, paths.returns()));
  TRY_ASSIGN(status.inbound["notices"], count_entries(ops, paths.notices_ready()));
  // These are made when the first comes.
  for (const auto& [name, path] : {std::pair("receipts", paths.inbound_receipts()),
                                   std::pair("questions", paths.inbound_asked()),
                                   std::pair("refused", paths.notices_refused())}) {
    TRY_ASSIGN(const bool there, os::exists(ops, path));
    status.inbound[name] = 0;
    if (there) {
      TRY_ASSIGN(status.inbound[name], count_entries(ops, path));
    }
  }
  TRY(look_at_accepted(spool, paths.accepted(), status, status.oldest_accepted));
  return look_at_accepted(spool, paths.deferred(), status, status.oldest_deferred);
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
  TRY(count_inbound(spool, status));
  const std::string ledger = spool.paths().ledger();
  TRY_ASSIGN(const bool there, os::exists(ops, ledger));
  TRY_ASSIGN(const bool was_there, os::exists(ops, ledger + ".created"));
  if (there || was_there) {
    status.ledger = add_ledger(ledger, status);
  }
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

}  // namespace

Result<int> status_show(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Overview status, collect(context));
  if (context.json) {
    print_status_json(context.out, status);
  } else {
    print_status_page(context.out, status, context.clock.now());
  }
  return arguments.has("check") && !status.problems.empty() ? kExitProblem : kExitOk;
}

}  // namespace bsmtp::mda::ctl
