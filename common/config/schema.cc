#include "common/config/schema.h"

#include <array>

namespace bsmtp::config {
namespace {

constexpr std::uint64_t kDay = 86400;

const std::array kGlobalKeys = std::to_array<Key<Config>>({
    {"host", Kind::kDomain, &Config::host,
     "This gateway. Its parcels arrive at <user>@<host>; exactly one active gateway per host.", 0,
     UINT64_MAX, true},
    {"own-domains", Kind::kList, &Config::own_domains,
     "Domains whose users are this host's own: a peer may not send as them, nor as users of the "
     "host itself, unless its sender-domains say so. Default: the host."},
    {"user", Kind::kText, &Config::user, "Local part of this gateway's parcel address."},
    {"postmaster", Kind::kAddress, &Config::postmaster, "Who gets notices and alarms."},
    {"spool-directory", Kind::kPath, &Config::spool_directory,
     "Where items, parcels and the ledger live. A local file system, not NFS."},
    {"openpgp-directory", Kind::kPath, &Config::openpgp_directory,
     "GnuPG homes sign/, verify/ and decrypt/. Keep the path short: GnuPG puts sockets below it.",
     0, 60},
    {"sign-key", Kind::kText, &Config::sign_key,
     "Fingerprint of the key that signs this gateway's parcels."},
    {"sign-passphrase-file", Kind::kPath, &Config::sign_passphrase_file,
     "File (mode 0400) with the signing key's passphrase, when it has one."},
    {"rewrite-rules", Kind::kPath, &Config::rewrite_rules,
     "PMDF-style rewrite rules: which recipients go through which peer."},
    {"pass-tags", Kind::kList, &Config::pass_tags,
     "Tags of rules that name no peer and mean: leave the address to the MTA, unchanged."},
    {"export-map", Kind::kPath, &Config::export_map,
     "The static transport map that `bsmtpctl rules export` writes."},
    {"export-transport", Kind::kText, &Config::export_transport,
     "TRANSPORT:NEXTHOP in that map. Without NEXTHOP the peer's pseudo-domain stands there, as the "
     "pipe form of bsmtp-out needs it; with LMTP NEXTHOP is its socket."},
    {"milter-socket", Kind::kText, &Config::milter_socket,
     "unix:PATH or inet:PORT@HOST. For Postfix below its queue directory: smtpd is chrooted."},
    {"milter-socket-mode", Kind::kOctal, &Config::milter_socket_mode,
     "Permissions of the milter's unix sockets, octal.", 0, 0777},
    {"socketmap-socket", Kind::kText, &Config::socketmap_socket,
     "Where bsmtp-milter answers socketmap look-ups from the same rules: unix:PATH or "
     "inet:PORT@HOST. Not set: nowhere."},
    {"gateway-daemons", Kind::kList, &Config::gateway_daemons,
     "Daemon names (sendmail) or ports (Postfix) of the resubmission listener, whose mail is never "
     "diverted. The port of `resubmit` is always one of them."},
    {"submit", Kind::kUrl, &Config::submit,
     "The host MTA, for parcels, receipts and notices: smtp://HOST:PORT."},
    {"resubmit", Kind::kUrl, &Config::resubmit,
     "The host MTA's listener that treats unpacked mail as from a stranger: smtp://HOST:PORT."},
    {"resubmit-helo", Kind::kText, &Config::resubmit_helo,
     "What unpacked mail is announced with (EHLO). Default: the loopback address of `resubmit` as "
     "a literal, which restrictions against strangers that use this host's name let pass; "
     "without a loopback address the host."},
    {"submit-connections", Kind::kCount, &Config::submit_connections,
     "Parcels handed to the host MTA at the same time.", 1, 64},
    {"resubmit-connections", Kind::kCount, &Config::resubmit_connections,
     "Connections that deliver unpacked mail at the same time; fewer where the host MTA grants "
     "fewer.",
     1, 64},
    {"build-workers", Kind::kCount, &Config::build_workers, "Parcels built at the same time.", 1,
     64},
    {"compression-level", Kind::kCount, &Config::compression_level, "zlib level.", 1, 9},
    {"log-level", Kind::kText, &Config::log_level, "debug, info, warn or error."},
    {"sandbox", Kind::kText, &Config::sandbox,
     "Where bsmtp-in parses what is inside a parcel. auto: in a child caged by Landlock and "
     "seccomp, as far as the kernel has them; on: not without both (75); off: in bsmtp-in itself."},

    {"parcel-lifetime", Kind::kDuration, &Config::parcel_lifetime,
     "From a parcel's creation to its expiry, after which no receiver takes it. At least "
     "delivery-expire and the queue lifetime of the host MTA together.",
     3600, 30 * kDay},
    {"clock-skew", Kind::kDuration, &Config::clock_skew,
     "How far a peer's clock may be ahead or behind.", 0, kDay},
    {"replay-window", Kind::kDuration, &Config::replay_window,
     "Oldest signature accepted on a parcel that carries no times of its own (PMDF).", 3600,
     366 * kDay},
    {"retry-initial", Kind::kDuration, &Config::retry_initial,
     "First wait after a temporary refusal by the host MTA; doubles each time.", 1, kDay},
    {"retry-maximum", Kind::kDuration, &Config::retry_maximum, "Longest wait between attempts.", 1,
     7 * kDay},
    {"delivery-expire", Kind::kDuration, &Config::delivery_expire,
     "How long an unpacked message, or a parcel, that the host MTA does not take is tried before "
     "its senders get a DSN.",
     60, 30 * kDay},
    {"receipt-delay", Kind::kDuration, &Config::receipt_delay,
     "How long the receipt for a parcel may wait for others to the same peer. A peer that wants it "
     "at once gets it at once.",
     0, 3600},
    {"delay-warning", Kind::kDuration, &Config::delay_warning,
     "A message that has waited this long, here for its parcel or for delivery, is reported to its "
     "sender once as delayed.",
     60, 30 * kDay},
    {"keep-sent", Kind::kDuration, &Config::keep_sent,
     "How long a parcel handed to the host MTA is kept, so that a bounce finds its senders.", 0,
     60 * kDay},
    {"ledger-retention", Kind::kDuration, &Config::ledger_retention,
     "How long the ledger remembers a parcel beyond its expiry.", kDay, 366 * kDay},
    {"resend-after", Kind::kDuration, &Config::resend_after,
     "A parcel handed to the host MTA whose receipt does not come is sent again after this; the "
     "wait doubles, three times at most before it expires. Peers with receipts only.",
     1, 14 * kDay},
    {"receipt-grace", Kind::kDuration, &Config::receipt_grace,
     "When a parcel expires the peer is asked once more; without an answer for so long its senders "
     "are told that the outcome is unknown. Peers with receipts only.",
     1, 14 * kDay},
    {"accept-while-stalled", Kind::kDuration, &Config::accept_while_stalled,
     "When the dispatcher's heartbeat or a peer's oldest item is older, bsmtp-out answers 75 and "
     "the MTA's own queue and warnings take over.",
     60, 30 * kDay},
    {"heartbeat", Kind::kDuration, &Config::heartbeat, "How often the dispatcher shows it lives.",
     1, 3600},
    {"smtp-timeout", Kind::kDuration, &Config::smtp_timeout,
     "Wait for the host MTA's final reply (RFC 5321 4.5.3.2.6 asks for 10 minutes).", 1, 3600},
    {"agent-deadline", Kind::kDuration, &Config::agent_deadline,
     "A pipe agent gives up with 75 after this; below the MTA's own limit, which would bounce.", 1,
     900},
    {"quarantine-digest", Kind::kDuration, &Config::quarantine_digest,
     "Least time between two quarantine digests to the postmaster.", 60, 30 * kDay},
    {"quarantine-age", Kind::kDuration, &Config::quarantine_age,
     "Quarantined parcels older than this are removed.", 3600, 366 * kDay},
    {"tmp-age", Kind::kDuration, &Config::tmp_age,
     "Temporary files older than this belong to nobody and are removed.", 3600, 30 * kDay},

    {"quarantine-bytes", Kind::kSize, &Config::quarantine_bytes,
     "Quarantine size; the oldest parcels make room."},
    {"quarantine-count", Kind::kCount, &Config::quarantine_count,
     "Quarantined parcels; the oldest make room.", 1, 1000000},
    {"free-percent-quarantine", Kind::kCount, &Config::free_percent_quarantine,
     "Below this share of free blocks or inodes nothing more is quarantined.", 0, 99},
    {"free-percent-enqueue", Kind::kCount, &Config::free_percent_enqueue,
     "Below this share bsmtp-out leaves mail with the MTA (75).", 0, 99},
    {"free-percent-dispatch", Kind::kCount, &Config::free_percent_dispatch,
     "Below this share nothing is built or accepted.", 0, 99},
    {"max-parcel-bytes", Kind::kSize, &Config::max_parcel_bytes,
     "Largest parcel taken, as received."},
    {"max-inflated-bytes", Kind::kSize, &Config::max_inflated_bytes,
     "Largest batch a parcel may inflate to."},
    {"max-inflate-ratio", Kind::kCount, &Config::max_inflate_ratio,
     "Largest inflation ratio after the first MiB. Deflate reaches 1032: below that, one honest "
     "mail "
     "that compresses well makes its whole parcel refused.",
     2, 2000},
    {"max-batch-messages", Kind::kCount, &Config::max_batch_messages,
     "Most messages taken from one parcel.", 1, 1000000},
    {"max-recipients", Kind::kCount, &Config::max_recipients, "Most recipients per message.", 1,
     100000},
    {"max-line", Kind::kSize, &Config::max_line,
     "Longest line of message text taken, in octets. A longer one makes its whole parcel refused.",
     65536, 1ULL << 40U},
    {"max-header-bytes", Kind::kSize, &Config::max_header_bytes,
     "Largest header block of a parcel or MIME part."},
    {"max-header-fields", Kind::kCount, &Config::max_header_fields,
     "Most header fields of a parcel or MIME part.", 10, 10000},
    {"max-mime-parts", Kind::kCount, &Config::max_mime_parts, "Most MIME parts of a parcel.", 2,
     100},
    {"max-mime-depth", Kind::kCount, &Config::max_mime_depth, "Deepest MIME nesting of a parcel.",
     2, 10},
    {"max-received", Kind::kCount, &Config::max_received,
     "A message with more Received lines is in a loop (5.4.6).", 10, 1000},
    {"max-own-received", Kind::kCount, &Config::max_own_received,
     "A message that came through this gateway's tunnel this often is in a loop (5.4.6).", 1, 100},
    {"dsn-return-bytes", Kind::kSize, &Config::dsn_return_bytes,
     "A DSN with RET=FULL returns a message up to this size, else its header."},
});

const std::array kPeerKeys = std::to_array<Key<Peer>>({
    {"host", Kind::kDomain, &Peer::host,
     "The peer's gateway; parcels go to <user>@<host> (PMDF: master user bsmtp daemon host).", 0,
     UINT64_MAX, true},
    {"user", Kind::kText, &Peer::user, "Local part of the peer's parcel address."},
    {"state", Kind::kChoice, &Peer::state,
     "off: nothing either way. receive: its parcels are taken, no mail is diverted to it. on: "
     "both. stopping: what is queued still goes out, nothing new is diverted."},
    {"tag", Kind::kText, &Peer::tag,
     "What names this peer in rewrite rules (PMDF: host name of the channel). Default "
     "BSOUT-<NAME>."},
    {"channel", Kind::kText, &Peer::channel,
     "What $N, $M, $C and $Q of rewrite rules name. Default bsout_<name>."},
    {"profile", Kind::kChoice, &Peer::profile, "Form of the parcels sent to this peer."},
    {"require", Kind::kChoice, &Peer::require,
     "signature, or for old peers transport: unsigned parcels are taken when the MTA calls "
     "bsmtp-in --peer from a transport that only this peer can reach."},
    {"openpgp-key", Kind::kFingerprints, &Peer::openpgp_keys,
     "Fingerprint of the key that signs the peer's parcels; repeat it for a rollover."},
    {"max-messages", Kind::kCount, &Peer::max_messages,
     "A parcel is closed at this many messages (PMDF: SEPARATE_FILES).", 1, 10000},
    {"max-bytes", Kind::kSize, &Peer::max_bytes,
     "A parcel is closed at this many octets of message data; a larger message travels alone."},
    {"max-age", Kind::kDuration, &Peer::max_age,
     "A parcel is closed when its oldest message has waited this long (PMDF: after).", 0, 7 * kDay},
    {"max-unacked", Kind::kCount, &Peer::max_unacked,
     "Parcels on their way: without the peer's receipt yet, or, where receipts are off, not yet "
     "taken by the host MTA; beyond it messages wait unbuilt.",
     1, 10000},
    {"max-queued", Kind::kCount, &Peer::max_queued,
     "Messages that may wait for a parcel to this peer; beyond it bsmtp-out leaves new ones with "
     "the MTA (75) until nine tenths are left.",
     1, 100000000},
    {"max-queued-bytes", Kind::kSize, &Peer::max_queued_bytes,
     "The same in octets of waiting messages.", 1},
    {"alarm-age", Kind::kDuration, &Peer::alarm_age,
     "When this peer's mail is late by more than this, the log and, once a day at most, the "
     "postmaster are told.",
     60, 30 * kDay},
    {"dsn-for", Kind::kList, &Peer::dsn_for,
     "Sender domains that get DSNs when unpacked mail of this peer fails here: a.b, .a.b "
     "(everything below) or *. Failures of other senders' mail go into a digest to the "
     "postmaster. Default: *."},
    {"dsn-limit", Kind::kCount, &Peer::dsn_limit,
     "DSNs sent within an hour about unpacked mail of this peer; further ones go into the digest.",
     1, 1000000},
    {"sender-domains", Kind::kList, &Peer::sender_domains,
     "Domains this peer may send as: a.b, .a.b (everything below) or *. Default: any but "
     "own-domains, the host and address literals."},
    {"recipient-domains", Kind::kList, &Peer::recipient_domains,
     "Where this peer's mail may go; * leaves it to the resubmission listener.", 0, UINT64_MAX,
     true},
    {"annotate", Kind::kFlag, &Peer::annotate,
     "Add PMDF's X-Content-MIC-check to every unpacked message; only with require = transport."},
    {"receipts", Kind::kFlag, &Peer::receipts,
     "Signed receipts are given to this peer and expected from it. Only with profile = native, "
     "where it is the default."},
});

}  // namespace

std::span<const Key<Config>> global_keys() {
  return kGlobalKeys;
}
std::span<const Key<Peer>> peer_keys() {
  return kPeerKeys;
}

}  // namespace bsmtp::config
