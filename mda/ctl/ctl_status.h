// What bsmtpctl status knows of the gateway, what it complains about, and how it shows both.
// Threads: values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/spool/quarantine.h"

namespace bsmtp::mda::ctl {

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
  // Of the ledger: answers that this host owes the peer, when the first of them was due, and
  // parcels of the peer that were refused for good.
  std::uint64_t receipts_due = 0;
  std::optional<TimePoint> oldest_due;
  std::uint64_t tombstones = 0;
};

struct Overview {
  std::vector<PeerStatus> peers;
  std::map<std::string, std::uint64_t> inbound;  // by what print_page() calls them
  std::vector<std::string> damaged;              // accepted or deferred: PATH: what is wrong
  std::optional<TimePoint> oldest_accepted;
  std::optional<TimePoint> oldest_deferred;
  std::uint64_t quarantined = 0;
  spool::QuarantineCounters counters;
  std::optional<TimePoint> heartbeat;
  bool clock_doubted = false;
  Status ledger;  // why it could not be read
  unsigned free_percent = 100;
  std::vector<std::string> problems;
};

// Into `status.problems`: one sentence each, with what to do.
void find_problems(const config::Config& config, TimePoint now, Overview& status);

void print_status_json(std::ostream& out, const Overview& status);
void print_status_page(std::ostream& out, const Overview& status, TimePoint now);

}  // namespace bsmtp::mda::ctl
