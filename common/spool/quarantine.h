// Quarantine: parcel-shaped mail that could not be trusted, kept for a human to look at.
// inbound/quarantine/<id>/ holds `parcel` (the mail as received, CRLF) and `meta` (key: value).
// An id is 12 hex digits of arrival time and the first 32 of the content's SHA-256, so one
// directory listing finds a duplicate and names never come from the mail itself.
// It is a ring: entries beyond the byte, count or age cap leave, oldest first. An attacker who
// floods it loses us old evidence, never disk or mail. Several processes may use it at once
// (flock on the directory). Nothing here is ever acted upon without a new verification.
// Errors: temporary, naming the file. Threads: const after open(); safe to share.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/os/file_ops.h"

namespace bsmtp::spool {

struct QuarantineLimits {
  std::uint64_t bytes = 512ULL << 20U;
  std::uint64_t count = 1000;
  std::chrono::seconds age{30L * 86400};
};

// What is known about one entry. Strings other than id and sha256 are untrusted octets:
// they pass printable() when written and again when shown.
struct QuarantineEntry {
  std::string id;
  std::string code;    // why, e.g. "5.7.1"
  std::string reason;  // why, for a human
  std::string sender;
  std::string recipient;
  std::string client;
  std::string queue_id;
  std::string peer;    // peer the verified key belongs to, "" when none was verified
  std::string sha256;  // 64 lower-case hex, of the content
  std::uint64_t size = 0;
  std::uint64_t copies = 1;  // times the same content arrived
  TimePoint first;
  TimePoint last;
};

// What the postmaster is told about: the text and the mark that makes it told.
struct QuarantineDigest {
  std::string id;      // 44 hex, the same for the same content: a key for an idempotent notice
  std::string text;    // CRLF lines, plain ASCII or UTF-8, no header
  std::string marker;  // for mark_reported()
};

struct QuarantineCounters {
  std::uint64_t quarantined = 0;  // ever put, copies included
  std::uint64_t shapeless = 0;    // mail without parcel shape, dropped
  std::uint64_t shed = 0;         // parcel-shaped, dropped because the disk was nearly full
  std::uint64_t evicted = 0;      // removed by the ring
};

enum class QuarantineCounter { kShapeless, kShed };

class Quarantine {
 public:
  // `directory` (inbound/quarantine) and `tmp_directory` (inbound/tmp) must exist and lie on one
  // file system; `ops` must outlive the object.
  static Result<Quarantine> open(os::FileOps& ops, std::string directory, std::string tmp_directory,
                                 QuarantineLimits limits);

  // Takes `raw_file` (complete, on the same file system) by rename and returns the entry's id
  // once it is durable. Content that is there already only counts one copy more; the raw file
  // is then removed. `entry.sha256` must be the digest of the file, 64 hex digits; id, size,
  // copies, first and last of `entry` are ignored. Older entries leave when a cap is passed.
  Result<std::string> put(const std::string& raw_file, const QuarantineEntry& entry,
                          TimePoint now) const;

  // All entries, oldest first. An entry that vanishes meanwhile or has no readable meta is
  // listed with what its name tells.
  Result<std::vector<QuarantineEntry>> list() const;
  // Permanent 5.1.1 when there is no such entry or `id` is no id.
  Result<QuarantineEntry> find(std::string_view id) const;
  // The unique entry whose id begins with `prefix` (at least 6 characters); permanent 5.1.1.
  Result<std::string> resolve(std::string_view prefix) const;
  std::string parcel_file(std::string_view id) const;
  // Removes one entry; ok when it is gone already.
  Status drop(std::string_view id) const;
  // Applies the caps without adding anything; returns how many entries left.
  Result<std::uint64_t> sweep(TimePoint now) const;

  // Adds one to a counter; for mail that is not kept.
  Status count(QuarantineCounter counter) const;
  Result<QuarantineCounters> counters() const;

  // The report due now: at most one per `interval`, nullopt when nothing new arrived since the
  // last. It lists at most 50 entries and the counters. The caller makes it a durable notice
  // under digest.id and then calls mark_reported(); dying in between repeats the same id.
  Result<std::optional<QuarantineDigest>> pending_digest(TimePoint now,
                                                         std::chrono::seconds interval) const;
  Status mark_reported(const QuarantineDigest& digest) const;

  const std::string& directory() const { return directory_; }

 private:
  Quarantine(os::FileOps& ops, std::string directory, std::string tmp_directory,
             QuarantineLimits limits)
      : ops_(&ops),
        directory_(std::move(directory)),
        tmp_directory_(std::move(tmp_directory)),
        limits_(limits) {}

  std::string entry_path(std::string_view id) const;
  Result<os::File> lock() const;
  Result<QuarantineEntry> read_entry(const std::string& id) const;
  Status add_copy(const std::string& id, const std::string& raw_file, TimePoint now) const;
  Status add_entry(const std::string& id, const std::string& raw_file,
                   const QuarantineEntry& entry) const;
  Status remove(const std::string& id) const;
  Result<std::uint64_t> enforce_caps(TimePoint now) const;
  Status bump(std::string_view counter, std::uint64_t by) const;

  os::FileOps* ops_;
  std::string directory_;
  std::string tmp_directory_;
  QuarantineLimits limits_;
};

}  // namespace bsmtp::spool
