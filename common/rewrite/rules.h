// RuleSet: an immutable set of PMDF rewrite rules (docs/rewrite-rules.md), read from the file a
// site would paste from its PMDF configuration, `<file` includes resolved, templates compiled and
// checked. Everything that can be wrong is found here, at load, never while mail waits: unknown
// or left-out `$` sequences, results on names that are neither a peer's tag nor a pass-tag.
// Failure: temporary 4.3.5 "FILE:LINE: what; what to do". Threads: const after load, share freely
// by shared_ptr; a reload makes a new set and swaps the pointer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::rewrite {

// Source channels as design names them; besides these each peer's own channel ("bsout_<name>"),
// which stands for mail whose reverse-path is this gateway's parcel address.
inline constexpr std::string_view kChannelLocal = "l";               // local submission
inline constexpr std::string_view kChannelSmtp = "tcp_local";        // SMTP, not authenticated
inline constexpr std::string_view kChannelAuth = "tcp_auth";         // SMTP, authenticated
inline constexpr std::string_view kChannelGateway = "bsin_gateway";  // resubmission listener

// What the rules must know of a peer; filled from config::Peer by the programs.
struct PeerInfo {
  std::string name;     // "remote1": pseudo-domain label
  std::string tag;      // "BSOUT-REMOTE1": routing system that names this peer in rules
  std::string channel;  // "bsout_remote1": what $M $N $Q $C compare with
  std::string host;     // "athena.domain.co.uk": its gateway
  std::string user = "bsmtp";
  bool divert = true;  // false (states off, receive, stopping): its rules leave mail to the MTA
};

struct Options {
  std::string host;                      // this gateway
  std::string user = "bsmtp";            // local part of its parcel address
  std::vector<std::string> own_domains;  // with `host`: the local channel's host names
  std::vector<PeerInfo> peers;
  std::vector<std::string> pass_tags;  // routing systems that mean "leave to the MTA, unchanged"
  // false: mail out of the tunnel (kChannelGateway) is never diverted again (no transit).
  bool transit = false;
  std::size_t max_include_depth = 10;
  std::size_t max_line = 4096;      // octets of one rule line
  std::size_t max_rules = 4000000;  // over all files
  std::size_t max_rewrites = 32;    // rewriting rounds of one address, then "loop"
};

struct Rule;
struct Tables;

class RuleSet {
 public:
  // Reads `path` and its includes. An include line is `<` and a file name, relative to the
  // directory of the including file; a file that includes itself, also by a detour, is refused.
  static Result<std::shared_ptr<const RuleSet>> load(const std::string& path,
                                                     const Options& options);
  // The same from a text; `name` stands for the file in messages and includes are relative to
  // its directory.
  static Result<std::shared_ptr<const RuleSet>> parse(std::string_view text,
                                                      const std::string& name,
                                                      const Options& options);
  ~RuleSet();
  RuleSet(const RuleSet&) = delete;
  RuleSet& operator=(const RuleSet&) = delete;

  const Options& options() const;
  std::size_t size() const;
  // Some pattern has a `*`: whether a host is meant depends on how deep it lies.
  bool counts_labels() const;
  // Every file read, in order (for a watcher, and `rules test`).
  const std::vector<std::string>& files() const;
  // Not errors, but worth telling an admin: own domains that a rule diverts, rules that can
  // never be reached. "FILE:LINE: text" each.
  const std::vector<std::string>& warnings() const;
  // The peer of that name, case-insensitive; nullptr when there is none.
  const PeerInfo* find_peer(std::string_view name) const;

  // For the engine and the exporter of this module only.
  const Tables& tables() const { return *tables_; }

 private:
  explicit RuleSet(std::unique_ptr<Tables> tables);
  static Result<std::shared_ptr<const RuleSet>> build(const std::string_view* text,
                                                      const std::string& name,
                                                      const Options& options);
  std::unique_ptr<Tables> tables_;
};

}  // namespace bsmtp::rewrite
