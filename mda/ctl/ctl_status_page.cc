// See ctl_status.h: the page for people, and the object for programs (bsmtpctl(8) has its fields).
#include "mda/ctl/ctl_output.h"
#include "mda/ctl/ctl_status.h"

namespace bsmtp::mda::ctl {
namespace {

std::string text_of(const std::optional<TimePoint>& when) {
  return when ? time_text(*when) : "";
}

std::string age_of(const std::optional<TimePoint>& when, TimePoint now) {
  return when ? age_text(*when, now) : "-";
}

void print_receipts(std::ostream& out, const Overview& status, TimePoint now) {
  Table table({"PEER", "AWAITED", "SINCE", "LAST CAME", "DUE TO IT", "SINCE", "TOMBSTONES"});
  for (const PeerStatus& peer : status.peers) {
    if (peer.unacknowledged + peer.receipts_due + peer.tombstones != 0 || peer.last_receipt) {
      table.add({peer.name, std::to_string(peer.unacknowledged), age_of(peer.oldest_handed, now),
                 age_of(peer.last_receipt, now), std::to_string(peer.receipts_due),
                 peer.oldest_due && *peer.oldest_due <= now ? age_text(*peer.oldest_due, now) : "-",
                 std::to_string(peer.tombstones)});
    }
  }
  if (!table.empty()) {
    out << "\nreceipts\n";
    table.print(out);
  }
}

}  // namespace

void print_status_json(std::ostream& out, const Overview& status) {
  Json json;
  json.object().field("heartbeat", text_of(status.heartbeat));
  json.count("free_percent", status.free_percent).key("peers").array();
  for (const PeerStatus& peer : status.peers) {
    json.object()
        .field("peer", peer.name)
        .count("waiting", peer.waiting)
        .field("oldest", text_of(peer.oldest));
    for (const auto& [stage, n] : peer.stages) {
      json.count(stage, n);
    }
    json.count("unacknowledged", peer.unacknowledged)
        .field("unacknowledged_since", text_of(peer.oldest_handed))
        .count("undecided", peer.undecided)
        .field("last_receipt", text_of(peer.last_receipt))
        .count("receipts_due", peer.receipts_due)
        .field("receipts_due_since", text_of(peer.oldest_due))
        .count("tombstones", peer.tombstones)
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

void print_status_page(std::ostream& out, const Overview& status, TimePoint now) {
  out << "dispatcher  "
      << (status.heartbeat ? "last sign of life " + age_text(*status.heartbeat, now) + " ago"
                           : "never ran on this spool")
      << "\ndisk        " << status.free_percent << " % free\n\n";
  Table table({"PEER", "WAITING", "OLDEST", "BUILDING", "READY", "SENT", "HELD", "FAILED"});
  for (const PeerStatus& peer : status.peers) {
    std::vector<std::string> row = {peer.name, std::to_string(peer.waiting),
                                    age_of(peer.oldest, now)};
    for (const char* stage : {"building", "ready", "sent", "held", "failed"}) {
      row.push_back(std::to_string(peer.stages.at(stage)));
    }
    table.add(std::move(row));
  }
  table.print(out);
  print_receipts(out, status, now);
  out << "\ninbound     " << status.inbound.at("accepted") << " accepted, "
      << status.inbound.at("deferred") << " deferred, " << status.inbound.at("returns")
      << " returns, " << status.inbound.at("receipts") << " receipts, "
      << status.inbound.at("questions") << " questions\nnotices     "
      << status.inbound.at("notices") << " to send, " << status.inbound.at("refused")
      << " refused\nquarantine  " << status.quarantined << " kept (" << status.counters.quarantined
      << " ever), " << status.counters.shapeless << " that were no parcels dropped, "
      << status.counters.shed << " shed\n";
  for (const std::string& problem : status.problems) {
    out << "PROBLEM: " << problem << "\n";
  }
}

}  // namespace bsmtp::mda::ctl
