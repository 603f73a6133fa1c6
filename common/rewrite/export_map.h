// Export of the rules as a static MTA map, and bsmtp-out's look-up in it.
// Recipients made by aliases, lists, .forward and the MTA's own bounces never pass the milter;
// this map routes the tunneled domains all the same, also when no process of ours runs. What no
// table can express is listed (`left_out`) and stands as comments in the file.
// export_postfix() asks the engine itself, so map and milter cannot disagree. The file is one
// Postfix texthash/hash source and carries an index in comment lines, which ExportedMap searches
// in a read-only mapping. Threads: pure; ExportedMap const after open.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/rewrite/rules.h"

namespace bsmtp::rewrite {

struct ExportOptions {
  std::string transport = "bsmtp-out";  // master.cf service
  // Empty: the peer's pseudo-domain (pipe). Else the same for all entries, e.g.
  // "unix:private/bsmtp-out" with transport "lmtp": LMTP does not carry the nexthop anyway.
  std::string nexthop;
  // What exempt addresses get. ":" (no change) keeps a relayhost; where default_transport is the
  // tunnel (a "." rule), "smtp:" keeps parcels out of it.
  std::string direct = ":";
  // makemap(8) source for FEATURE(`bsmtp') (m4/) instead: values are the peer's pseudo-domain or
  // "direct"; the fields above are not used. Set by export_sendmail().
  bool sendmail = false;
};

struct ExportEntry {
  std::string key;    // "domain.co.uk", ".domain.co.uk" or "bsmtp@athena.domain.co.uk"
  std::string peer;   // "" : left to the MTA (`direct` in Postfix)
  std::string where;  // "FILE:LINE" of the rule, "" for exempt addresses
};

struct Export {
  std::vector<ExportEntry> entries;   // sorted by key, keys unique and lower-case
  std::vector<std::string> left_out;  // "FILE:LINE: pattern: why no table can express it"
  std::string text;                   // the whole file
};

// The Postfix transport(5) table: tunneled domains (from tcp_local and l alike) to
// transport:nexthop, more specific rules that leave mail to the MTA and exempt addresses to ":"
// (do not change), and ".bsmtp.invalid" to the transport with the pseudo-domain as nexthop.
Export export_postfix(const RuleSet& rules, const ExportOptions& options = {});
// The same decisions for sendmail's ruleset bsmtp_route, which looks up address, user+*@host, host
// and parents: domains to the peer's pseudo-domain, exceptions to "direct", each exempt address
// with and without +detail, and ".bsmtp.invalid" as the sign that the map is there at all.
Export export_sendmail(const RuleSet& rules);
// regexp_table(5): every gateway's <user>+anything, which a plain table catches only where
// recipient_delimiter is "+". Stands before the table in transport_maps.
std::string export_postfix_regexp(const RuleSet& rules, std::string_view direct = ":");

// Replaces `path` by temporary file, fsync, rename, fsync of the directory; mode 0644.
Status write_map_file(const std::string& path, std::string_view text);

class ExportedMap {
 public:
  // Temporary 4.3.5 when the file is absent, not ours or damaged (names it and the remedy).
  static Result<ExportedMap> open(const std::string& path);
  ~ExportedMap();
  ExportedMap(ExportedMap&& other) noexcept;
  ExportedMap& operator=(ExportedMap&& other) noexcept;
  ExportedMap(const ExportedMap&) = delete;
  ExportedMap& operator=(const ExportedMap&) = delete;

  // The peer that mail for `domain` goes to: its own entry, else that of the nearest parent
  // (".parent"); any case, a trailing dot ignored. nullopt: not tunneled.
  std::optional<std::string> find(std::string_view domain) const;
  std::size_t size() const { return lines_; }

 private:
  ExportedMap() = default;
  std::optional<std::string_view> find_key(std::string_view key) const;
  const char* data_ = nullptr;  // whole mapping
  std::size_t length_ = 0;
  std::string_view index_;
  std::size_t lines_ = 0;
};

}  // namespace bsmtp::rewrite
