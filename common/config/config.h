// Config: the immutable values of /etc/bsmtp/bsmtp.conf and peers.d/*.conf, read once by a
// program's main. Only programs (milter/, mda/) read it; modules of common/ take their own small
// Options. Every key stands in the table of common/config/schema.h with default and meaning.
// Failure: a temporary Status (4.3.5) naming file, line and nearest key: an admin's typo must
// never bounce mail. Threads: const after load; share by shared_ptr<const Config>.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::config {

using std::chrono::seconds;

// off: no mail either way. receive: parcels from it are taken, none built. on: both.
// stopping: what is queued still goes out, nothing new is diverted.
enum class PeerState { kOff, kReceive, kOn, kStopping };
enum class Profile { kRfc2442, kPmdfGzip, kPmdfSigned, kNative };
enum class Require { kSignature, kTransport };

struct Peer {
  std::string name;  // lower-case [a-z0-9-], 1..32: pseudo-domain label and directory name
  std::string host;  // parcels go to <user>@<host>
  std::string user = "bsmtp";
  PeerState state = PeerState::kOn;
  std::string tag;      // BSOUT-<NAME>
  std::string channel;  // bsout_<name>
  Profile profile = Profile::kNative;
  Require require = Require::kSignature;
  std::vector<std::string> openpgp_keys;  // primary fingerprints, upper-case hex, no blanks
  std::uint64_t max_messages = 100;
  std::uint64_t max_bytes = 7ULL << 20U;
  seconds max_age{60};
  std::uint64_t max_unacked = 20;
  // What may wait unbuilt; then bsmtp-out leaves new mail with the MTA.
  std::uint64_t max_queued = 1000000;
  std::uint64_t max_queued_bytes = 20ULL << 30U;
  seconds alarm_age{2 * 3600};  // mail is late for so long: the postmaster is told
  // Sender domains that may get DSNs about unpacked mail of this peer.
  std::vector<std::string> dsn_for;  // empty: any
  std::uint64_t dsn_limit = 1000;    // DSNs an hour caused by this peer; the rest go into a digest
  // Domains ("a.b", ".a.b" = below, "*"); empty sender_domains = any but own_domains.
  std::vector<std::string> sender_domains;
  std::vector<std::string> recipient_domains;
  bool annotate = false;  // X-Content-MIC-check on unpacked mail; only with kTransport
  std::string receipts;   // "yes" or "no" when loaded; default by profile

  bool wants_receipts() const { return receipts == "yes"; }
  std::string parcel_address() const { return user + "@" + host; }
  std::string pseudo_domain() const { return name + ".bsmtp.invalid"; }
};

struct Config {
  std::string host;
  std::vector<std::string> own_domains;  // default: host
  std::string user = "bsmtp";            // local part of our parcel address
  std::string postmaster = "postmaster";
  std::string spool_directory = "/var/spool/bsmtp";
  std::string openpgp_directory = "/var/lib/bsmtp/openpgp";
  std::string sign_key;
  std::string sign_passphrase_file;
  std::string rewrite_rules = "/etc/bsmtp/rewrite";
  std::vector<std::string> pass_tags;
  std::string export_map = "/var/lib/bsmtp/transport";  // what `rules export` writes
  std::string export_transport = "bsmtp-out:";          // transport:nexthop in it
  std::string milter_socket = "unix:/run/bsmtp/milter.sock";
  std::uint64_t milter_socket_mode = 0660;
  std::string socketmap_socket;              // "" = none
  std::vector<std::string> gateway_daemons;  // {daemon_name}s / ports of the resubmission listener
  std::string submit = "smtp://127.0.0.1:25";
  std::string resubmit = "smtp://127.0.0.1:10027";
  std::string resubmit_helo;  // set by load: see schema
  std::uint64_t submit_connections = 2;
  std::uint64_t resubmit_connections = 4;
  std::uint64_t build_workers = 2;
  std::uint64_t compression_level = 6;
  std::string log_level = "info";
  std::string sandbox = "auto";  // auto, on, off

  // Timers; docs/timers.md is the one table with reasons.
  seconds parcel_lifetime{14 * 86400};  // created -> expires, at most 30 d
  seconds clock_skew{3600};
  seconds replay_window{30 * 86400};  // PMDF parcels (no manifest): signature age accepted
  seconds retry_initial{60};
  seconds retry_maximum{3600};
  seconds delivery_expire{5 * 86400};  // accepted message or ready parcel -> DSN
  seconds receipt_delay{300};          // receipts gather so long
  seconds delay_warning{4 * 3600};     // a waiting message's sender is told once
  seconds keep_sent{6 * 86400};        // longer than an MTA queues: late bounces must find senders
  seconds ledger_retention{30 * 86400};  // beyond the parcel's expiry
  seconds resend_after{6 * 3600};        // handed over, no receipt: again; doubles each time
  seconds receipt_grace{86400};          // beyond expiry: then the outcome is called unknown
  seconds accept_while_stalled{4 * 3600};
  seconds heartbeat{30};
  seconds smtp_timeout{600};
  seconds agent_deadline{300};
  seconds quarantine_digest{3600};
  seconds quarantine_age{30 * 86400};
  seconds tmp_age{86400};  // stale temporary files are swept

  // Limits.
  std::uint64_t quarantine_bytes = 512ULL << 20U;
  std::uint64_t quarantine_count = 1000;
  std::uint64_t free_percent_quarantine = 10;
  std::uint64_t free_percent_enqueue = 5;
  std::uint64_t free_percent_dispatch = 1;
  std::uint64_t max_parcel_bytes = 64ULL << 20U;  // as received
  std::uint64_t max_inflated_bytes = 1ULL << 30U;
  // Deflate reaches 1032 : 1, and honest mail (logs, zero-filled attachments) comes near it; one
  // refused message would void its whole parcel.
  std::uint64_t max_inflate_ratio = 1100;
  std::uint64_t max_batch_messages = 10000;
  std::uint64_t max_recipients = 1000;   // per message
  std::uint64_t max_line = 1ULL << 30U;  // of message text; for the same reason not a tight one
  std::uint64_t max_header_bytes = 65536;
  std::uint64_t max_header_fields = 200;
  std::uint64_t max_mime_parts = 8;
  std::uint64_t max_mime_depth = 4;
  std::uint64_t max_received = 50;  // Received lines, then 5.4.6
  std::uint64_t max_own_received = 3;
  std::uint64_t dsn_return_bytes = 51200;  // RET=FULL returns at most this much

  std::vector<Peer> peers;
  std::vector<std::string> files;  // what was read, in order

  const Peer* find_peer(std::string_view name) const;  // by name, case-insensitive
  // By name or pseudo-domain ("never." label stripped), as --peer takes it.
  const Peer* peer_for_argument(std::string_view text) const;
  const Peer* peer_for_tag(std::string_view tag) const;
  std::string parcel_address() const { return user + "@" + host; }
  std::string sign_home() const { return openpgp_directory + "/sign"; }
  std::string verify_home() const { return openpgp_directory + "/verify"; }
  std::string decrypt_home() const { return openpgp_directory + "/decrypt"; }
};

// Reads `file`; when it is the default or empty: kDefaultConfigDirectory/bsmtp.conf plus
// peers.d/*.conf in name order. A given file also reads peers.d/ beside it when present.
Result<Config> load(const std::string& file);
// The same from one text (tests, `config check -`); `name` is used in messages.
Result<Config> parse(std::string_view text, const std::string& name);

}  // namespace bsmtp::config
