#include "common/config/schema.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/base/units.h"

namespace bsmtp::config {
namespace {

constexpr std::uint64_t kDay = 86400;

const std::array kGlobalKeys = std::to_array<Key<Config>>({
    {"host", Kind::kDomain, &Config::host,
     "This gateway. Its parcels arrive at <user>@<host>; exactly one active gateway per host.", 0,
     UINT64_MAX, true},
    {"own-domains", Kind::kList, &Config::own_domains,
     "Domains whose users are this host's own: a peer may not send as them unless its "
     "sender-domains say so. Default: the host."},
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
    {"submit-connections", Kind::kCount, &Config::submit_connections,
     "Parcels handed to the host MTA at the same time.", 1, 64},
    {"resubmit-connections", Kind::kCount, &Config::resubmit_connections,
     "Connections that deliver unpacked mail at the same time.", 1, 64},
    {"build-workers", Kind::kCount, &Config::build_workers, "Parcels built at the same time.", 1,
     64},
    {"compression-level", Kind::kCount, &Config::compression_level, "zlib level.", 1, 9},
    {"log-level", Kind::kText, &Config::log_level, "debug, info, warn or error."},

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
    {"keep-sent", Kind::kDuration, &Config::keep_sent,
     "How long a parcel handed to the host MTA is kept, so that a bounce finds its senders.", 0,
     60 * kDay},
    {"ledger-retention", Kind::kDuration, &Config::ledger_retention,
     "How long the ledger remembers a parcel beyond its expiry.", kDay, 366 * kDay},
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
     "Parcels on their way; beyond it messages wait unbuilt.", 1, 10000},
    {"sender-domains", Kind::kList, &Peer::sender_domains,
     "Domains this peer may send as: a.b, .a.b (everything below) or *. Default: any but "
     "own-domains."},
    {"recipient-domains", Kind::kList, &Peer::recipient_domains,
     "Where this peer's mail may go; * leaves it to the resubmission listener.", 0, UINT64_MAX,
     true},
    {"annotate", Kind::kFlag, &Peer::annotate,
     "Add PMDF's X-Content-MIC-check to every unpacked message; only with require = transport."},
});

constexpr std::array<std::string_view, 4> kStates{"off", "receive", "on", "stopping"};
constexpr std::array<std::string_view, 4> kProfiles{"rfc2442", "pmdf-gzip", "pmdf-signed",
                                                    "native"};
constexpr std::array<std::string_view, 2> kRequires{"signature", "transport"};

Status bad(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

template <typename Enum, std::size_t N>
Status set_choice(const std::array<std::string_view, N>& words, std::string_view text, Enum& out) {
  for (std::size_t i = 0; i < N; ++i) {
    if (iequals(words.at(i), text)) {
      out = static_cast<Enum>(i);
      return Status::ok();
    }
  }
  std::vector<std::string> all(words.begin(), words.end());
  return bad(str_cat({"'", printable(text, 60), "' is not one of: ", join(all, ", ")}));
}

Status in_range(std::uint64_t value, std::uint64_t lo, std::uint64_t hi, std::string_view text,
                Kind kind) {
  if (value >= lo && value <= hi) {
    return Status::ok();
  }
  const auto shown = [&](std::uint64_t v) {
    return kind == Kind::kDuration ? format_duration(seconds(static_cast<std::int64_t>(v)))
           : kind == Kind::kSize   ? format_size(v)
                                   : std::to_string(v);
  };
  return bad(str_cat({"'", printable(text, 60), "' is out of range: at least ", shown(lo),
                      hi == UINT64_MAX ? std::string() : ", at most " + shown(hi)}));
}

Status check_text(Kind kind, std::string_view text, std::uint64_t maximum) {
  if (text.empty()) {
    return bad("the value is empty; remove the line to get the default");
  }
  const bool inner_blank = text.find_first_of(" \t") != std::string_view::npos;
  const bool is_control = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (inner_blank || is_control) {
    return bad(str_cat({"'", printable(text, 60), "' contains a blank or control character"}));
  }
  if (kind == Kind::kPath && !text.starts_with('/')) {
    return bad(str_cat({"'", printable(text, 60), "' is not an absolute path"}));
  }
  if (kind == Kind::kPath && text.size() > maximum) {
    return bad(
        str_cat({"the path '", printable(text, 120), "' is longer than ", std::to_string(maximum),
                 " octets: GnuPG's sockets below it would not work; choose a shorter one"}));
  }
  if (kind == Kind::kDomain && (text.size() > 253 || text.find('.') == std::string_view::npos ||
                                text.find_first_of("@%!<>\"/\\") != std::string_view::npos ||
                                text.starts_with('.') || text.ends_with('.'))) {
    return bad(str_cat({"'", printable(text, 60),
                        "' is not a fully qualified host name, such as hub.domain.com"}));
  }
  if (kind == Kind::kUrl && !text.starts_with("smtp://")) {
    return bad(str_cat({"'", printable(text, 60), "' is not of the form smtp://HOST:PORT"}));
  }
  return Status::ok();
}

Status add_fingerprint(std::string_view text, std::vector<std::string>& out) {
  std::string hex;
  for (char c : text) {
    if (c != ' ' && c != '\t') {
      hex += ascii_upper(c);
    }
  }
  const bool all_hex = std::all_of(hex.begin(), hex.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
  });
  if (hex.size() != 40 || !all_hex) {
    return bad(str_cat({"'", printable(text, 80),
                        "' is not a fingerprint of 40 hexadecimal digits; "
                        "`bsmtpctl key fingerprint` prints it"}));
  }
  if (std::find(out.begin(), out.end(), hex) == out.end()) {
    out.push_back(std::move(hex));
  }
  return Status::ok();
}

Status set_number(Kind kind, std::uint64_t lo, std::uint64_t hi, std::string_view text,
                  std::uint64_t& out) {
  std::uint64_t value = 0;
  if (kind == Kind::kSize) {
    TRY_ASSIGN(value, parse_size(text));
  } else if (kind == Kind::kOctal) {
    for (char c : text) {
      if (c < '0' || c > '7' || value > 0777) {
        return bad(str_cat({"'", printable(text, 60), "' is not an octal mode such as 0660"}));
      }
      value = value * 8 + static_cast<std::uint64_t>(c - '0');
    }
  } else {
    const auto n = parse_u64(text);
    if (!n) {
      return bad(str_cat({"'", printable(text, 60), "' is not a whole number"}));
    }
    value = *n;
  }
  TRY(in_range(value, lo, hi, text, kind));
  out = value;
  return Status::ok();
}

Status set_flag(std::string_view text, bool& out) {
  for (std::string_view yes : {"yes", "on", "true", "1"}) {
    if (iequals(text, yes)) {
      out = true;
      return Status::ok();
    }
  }
  for (std::string_view no : {"no", "off", "false", "0"}) {
    if (iequals(text, no)) {
      out = false;
      return Status::ok();
    }
  }
  return bad(str_cat({"'", printable(text, 60), "' is not yes or no"}));
}

template <typename T>
struct Setter {
  const Key<T>& key;
  T& object;
  std::string_view text;

  Status operator()(std::string T::*m) const {
    TRY(check_text(key.kind, text, key.maximum));
    object.*m = text;
    return Status::ok();
  }
  Status operator()(std::uint64_t T::*m) const {
    return set_number(key.kind, key.minimum, key.maximum, text, object.*m);
  }
  Status operator()(seconds T::*m) const {
    TRY_ASSIGN(const seconds value, parse_duration(text));
    TRY(in_range(static_cast<std::uint64_t>(value.count()), key.minimum, key.maximum, text,
                 key.kind));
    object.*m = value;
    return Status::ok();
  }
  Status operator()(bool T::*m) const { return set_flag(text, object.*m); }
  Status operator()(std::vector<std::string> T::*m) const {
    if (key.kind == Kind::kFingerprints) {
      return add_fingerprint(text, object.*m);
    }
    for (auto word : split_blank(text)) {
      (object.*m).emplace_back(word);
    }
    return Status::ok();
  }
  Status operator()(PeerState T::*m) const { return set_choice(kStates, text, object.*m); }
  Status operator()(Profile T::*m) const { return set_choice(kProfiles, text, object.*m); }
  Status operator()(Require T::*m) const { return set_choice(kRequires, text, object.*m); }
};

template <typename T>
struct Getter {
  const Key<T>& key;
  const T& object;

  std::string operator()(std::string T::*m) const { return object.*m; }
  std::string operator()(std::uint64_t T::*m) const {
    const std::uint64_t v = object.*m;
    if (key.kind == Kind::kOctal) {
      std::string out;
      for (std::uint64_t rest = v; rest != 0; rest /= 8) {
        out.insert(out.begin(), static_cast<char>('0' + rest % 8));
      }
      return "0" + out;
    }
    return key.kind == Kind::kSize ? format_size(v) : std::to_string(v);
  }
  std::string operator()(seconds T::*m) const { return format_duration(object.*m); }
  std::string operator()(bool T::*m) const { return object.*m ? "yes" : "no"; }
  std::string operator()(std::vector<std::string> T::*m) const { return join(object.*m, " "); }
  std::string operator()(PeerState T::*m) const {
    return std::string(kStates.at(static_cast<std::size_t>(object.*m)));
  }
  std::string operator()(Profile T::*m) const {
    return std::string(kProfiles.at(static_cast<std::size_t>(object.*m)));
  }
  std::string operator()(Require T::*m) const {
    return std::string(kRequires.at(static_cast<std::size_t>(object.*m)));
  }
};

template <typename T>
void describe_key(const Key<T>& key, const T& defaults, std::string& out) {
  out += "# ";
  out += key.help;
  if (key.kind == Kind::kChoice) {
    if constexpr (std::is_same_v<T, Peer>) {
      std::vector<std::string> words;
      for (auto w : choices(key.member)) {
        words.emplace_back(w);
      }
      out += " (" + join(words, " | ") + ")";
    }
  } else {
    out += str_cat({" (", kind_name(key.kind), ")"});
  }
  const std::string value = get_value(key, defaults);
  out += str_cat({"\n", key.required ? "" : "#", key.name, " = ",
                  value.empty() && key.required ? "..." : value, "\n"});
}

template <typename T>
void show_keys(std::span<const Key<T>> keys, const T& object, std::string& out) {
  for (const auto& key : keys) {
    const std::string value = get_value(key, object);
    if (value.empty()) {
      continue;
    }
    if (key.kind == Kind::kFingerprints) {
      for (auto word : split_blank(value)) {
        out += str_cat({key.name, " = ", word, "\n"});
      }
    } else {
      out += str_cat({key.name, " = ", value, "\n"});
    }
  }
}

template <typename T>
std::string json_keys(std::span<const Key<T>> keys, const T& object) {
  std::string out;
  for (const auto& key : keys) {
    if (!out.empty()) {
      out += ", ";
    }
    out += json_quote(key.name) + ": " + json_quote(get_value(key, object));
  }
  return out;
}

}  // namespace

std::span<const Key<Config>> global_keys() {
  return kGlobalKeys;
}
std::span<const Key<Peer>> peer_keys() {
  return kPeerKeys;
}

std::vector<std::string_view> choices(const Member<Peer>& member) {
  if (std::holds_alternative<PeerState Peer::*>(member)) {
    return {kStates.begin(), kStates.end()};
  }
  if (std::holds_alternative<Profile Peer::*>(member)) {
    return {kProfiles.begin(), kProfiles.end()};
  }
  if (std::holds_alternative<Require Peer::*>(member)) {
    return {kRequires.begin(), kRequires.end()};
  }
  return {};
}

Status set_value(const Key<Config>& key, Config& config, std::string_view text) {
  return std::visit(Setter<Config>{key, config, text}, key.member);
}
Status set_value(const Key<Peer>& key, Peer& peer, std::string_view text) {
  return std::visit(Setter<Peer>{key, peer, text}, key.member);
}
std::string get_value(const Key<Config>& key, const Config& config) {
  return std::visit(Getter<Config>{key, config}, key.member);
}
std::string get_value(const Key<Peer>& key, const Peer& peer) {
  return std::visit(Getter<Peer>{key, peer}, key.member);
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "word";
    case Kind::kPath:
      return "absolute path";
    case Kind::kDomain:
      return "host name";
    case Kind::kAddress:
      return "address";
    case Kind::kUrl:
      return "smtp://HOST:PORT";
    case Kind::kSize:
      return "octets, suffix K, M, G";
    case Kind::kDuration:
      return "duration, suffix s, m, h, d, w";
    case Kind::kCount:
      return "number";
    case Kind::kOctal:
      return "octal mode";
    case Kind::kFlag:
      return "yes or no";
    case Kind::kChoice:
      return "choice";
    case Kind::kList:
      return "list, blank-separated; may be repeated";
    case Kind::kFingerprints:
      return "fingerprint; may be repeated";
  }
  return "";
}

std::string describe() {
  std::string out =
      "# bsmtp.conf: every key of the bsmtp-tunnel suite with its default. A # starts a comment\n"
      "# anywhere in a line. Further peers may stand in peers.d/*.conf beside this file.\n\n";
  const Config defaults;
  for (const auto& key : kGlobalKeys) {
    describe_key(key, defaults, out);
  }
  out += "\n# One section for each peer; the name is lower-case letters, digits and hyphens.\n";
  out += "[peer.remote1]\n";
  const Peer peer;
  for (const auto& key : kPeerKeys) {
    describe_key(key, peer, out);
  }
  return out;
}

std::string show(const Config& config) {
  std::string out;
  show_keys(global_keys(), config, out);
  for (const auto& peer : config.peers) {
    out += str_cat({"\n[peer.", peer.name, "]\n"});
    show_keys(peer_keys(), peer, out);
  }
  return out;
}

std::string show_json(const Config& config) {
  std::string out = "{" + json_keys(global_keys(), config) + ", \"peers\": [";
  for (std::size_t i = 0; i < config.peers.size(); ++i) {
    out += str_cat({i == 0 ? "" : ", ", "{\"name\": ", json_quote(config.peers[i].name), ", ",
                    json_keys(peer_keys(), config.peers[i]), "}"});
  }
  return out + "]}\n";
}

}  // namespace bsmtp::config
