#include "common/spool/quarantine.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/spool/fields.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {
namespace {

constexpr std::string_view kParcelFile = "parcel";
constexpr std::string_view kEntryMeta = "meta";
constexpr std::string_view kCountersFile = "counters";
constexpr std::string_view kReportedFile = "reported";
constexpr std::size_t kTimeDigits = 12;
constexpr std::size_t kDigestListed = 50;
constexpr std::string_view kDigestAdvice =
    "bsmtpctl quarantine show ID says more. After the cause is mended (key\r\n"
    "imported, clock set, peer configured) bsmtpctl quarantine release ID\r\n"
    "verifies it anew; bsmtpctl quarantine drop ID removes it.\r\n";
constexpr std::size_t kMaxValue = 1000;

std::uint64_t milliseconds(TimePoint when) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
  return ms < 0 ? 0 : static_cast<std::uint64_t>(ms);
}

TimePoint from_milliseconds(std::uint64_t ms) {
  return TimePoint(std::chrono::milliseconds(static_cast<std::int64_t>(ms)));
}

std::string hex_time(TimePoint when) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(kTimeDigits, '0');
  std::uint64_t ms = milliseconds(when);
  for (std::size_t i = kTimeDigits; i-- > 0; ms >>= 4U) {
    text[i] = kDigits[ms & 15U];
  }
  return text;
}

std::string_view digest_part(std::string_view id) {
  return id.substr(kTimeDigits);
}

std::string format_entry(const QuarantineEntry& entry) {
  Fields fields;
  const std::array<std::pair<std::string_view, const std::string*>, 8> texts = {
      {{"code", &entry.code},
       {"reason", &entry.reason},
       {"sender", &entry.sender},
       {"recipient", &entry.recipient},
       {"client", &entry.client},
       {"queue-id", &entry.queue_id},
       {"peer", &entry.peer},
       {"sha256", &entry.sha256}}};
  for (const auto& [key, value] : texts) {
    fields.set(key, printable(*value, kMaxValue));
  }
  fields.set_number("size", entry.size);
  fields.set_number("copies", entry.copies);
  fields.set_number("first-ms", milliseconds(entry.first));
  fields.set_number("last-ms", milliseconds(entry.last));
  return fields.format();
}

QuarantineEntry parse_entry(const std::string& id, const Fields& fields) {
  QuarantineEntry entry;
  entry.id = id;
  entry.code = fields.get("code");
  entry.reason = fields.get("reason");
  entry.sender = fields.get("sender");
  entry.recipient = fields.get("recipient");
  entry.client = fields.get("client");
  entry.queue_id = fields.get("queue-id");
  entry.peer = fields.get("peer");
  entry.sha256 = fields.get("sha256");
  entry.size = fields.get_number("size");
  entry.copies = fields.get_number("copies", 1);
  entry.first = from_milliseconds(fields.get_number("first-ms"));
  entry.last = from_milliseconds(fields.get_number("last-ms"));
  return entry;
}

// What is left when an entry's meta cannot be read: it can still be listed and dropped.
QuarantineEntry entry_from_name(const std::string& id) {
  QuarantineEntry entry;
  entry.id = id;
  entry.code = "4.3.0";
  entry.reason = "its meta file is missing or damaged";
  entry.first = entry.last = id_time(id).value_or(TimePoint{});
  return entry;
}

Result<Fields> read_fields(os::FileOps& ops, const std::string& path) {
  auto text = os::read_file(ops, path, kMaxFieldsFile);
  if (!text.is_ok()) {
    if (text.status().error_number() == ENOENT) {
      return Fields();
    }
    return text.status();
  }
  return Fields::parse(*text, path);
}

std::string describe(const QuarantineEntry& entry) {
  return str_cat({entry.id,
                  "  ",
                  format_rfc5322(entry.last),
                  ", ",
                  std::to_string(entry.size),
                  " octets",
                  entry.copies > 1 ? ", " + std::to_string(entry.copies) + " copies" : "",
                  "\r\n  why:  ",
                  entry.code,
                  " ",
                  entry.reason,
                  "\r\n  from: <",
                  entry.sender,
                  ">",
                  entry.client.empty() ? "" : " at ",
                  entry.client,
                  entry.queue_id.empty() ? "" : ", MTA queue id ",
                  entry.queue_id,
                  entry.peer.empty() ? "" : ", signed by the key of peer ",
                  entry.peer,
                  "\r\n"});
}

}  // namespace

Result<Quarantine> Quarantine::open(os::FileOps& ops, std::string directory,
                                    std::string tmp_directory, QuarantineLimits limits) {
  TRY_ASSIGN(const os::FileInfo info, ops.stat(directory));
  if (!info.is_directory) {
    return Status::temporary("4.3.5", directory + " is no directory; move the file away");
  }
  return Quarantine(ops, std::move(directory), std::move(tmp_directory), limits);
}

std::string Quarantine::entry_path(std::string_view id) const {
  return str_cat({directory_, "/", id});
}

std::string Quarantine::parcel_file(std::string_view id) const {
  return str_cat({entry_path(id), "/", kParcelFile});
}

Result<os::File> Quarantine::lock() const {
  TRY_ASSIGN(os::File file, ops_->open(directory_, os::kDirectory, 0));
  TRY(ops_->lock(file));
  return file;
}

Result<QuarantineEntry> Quarantine::read_entry(const std::string& id) const {
  const std::string path = str_cat({entry_path(id), "/", kEntryMeta});
  TRY_ASSIGN(const std::string text, os::read_file(*ops_, path, kMaxFieldsFile));
  TRY_ASSIGN(const Fields fields, Fields::parse(text, path));
  return parse_entry(id, fields);
}

Result<std::string> Quarantine::put(const std::string& raw_file, const QuarantineEntry& entry,
                                    TimePoint now) const {
  if (entry.sha256.size() != 64) {
    return Status::temporary("4.3.5", "quarantine: the digest of " + raw_file + " is missing");
  }
  TRY_ASSIGN(const os::File held, lock());
  TRY_ASSIGN(const auto ids, list_ids(*ops_, directory_));
  const std::string digest = entry.sha256.substr(0, kIdLength - kTimeDigits);
  const auto known = std::find_if(ids.begin(), ids.end(),
                                  [&](const std::string& id) { return digest_part(id) == digest; });
  std::string id;
  if (known != ids.end()) {
    id = *known;
    TRY(add_copy(id, raw_file, now));
  } else {
    id = hex_time(now) + digest;
    QuarantineEntry complete = entry;
    TRY_ASSIGN(const os::FileInfo info, ops_->stat(raw_file));
    complete.size = info.size;
    complete.copies = 1;
    complete.first = complete.last = now;
    TRY(add_entry(id, raw_file, complete));
    // The entry is safe; trouble with the ring or its counters is for the next call.
    (void)enforce_caps(now);
  }
  (void)bump("quarantined", 1);
  return id;
}

Status Quarantine::add_copy(const std::string& id, const std::string& raw_file,
                            TimePoint now) const {
  auto read = read_entry(id);
  QuarantineEntry entry = read.is_ok() ? *read : entry_from_name(id);
  ++entry.copies;
  entry.last = now;
  TRY(os::write_file_atomically(*ops_, entry_path(id), tmp_directory_, std::string(kEntryMeta),
                                format_entry(entry), kFileMode));
  return os::remove_if_exists(*ops_, raw_file);
}

Status Quarantine::add_entry(const std::string& id, const std::string& raw_file,
                             const QuarantineEntry& entry) const {
  const std::string building = str_cat({tmp_directory_, "/", id});
  TRY(os::remove_tree(*ops_, building));  // of a process that died here
  TRY(os::ensure_directory(*ops_, building, kDirMode));
  const std::string parcel = str_cat({building, "/", kParcelFile});
  const auto build = [&]() -> Status {
    TRY_ASSIGN(os::File raw, ops_->open(raw_file, os::kReadOnly, 0));
    TRY(ops_->fsync(raw));
    TRY(os::write_file_atomically(*ops_, building, building, std::string(kEntryMeta),
                                  format_entry(entry), kFileMode));
    TRY(ops_->rename(raw_file, parcel));
    TRY(ops_->fsync_dir(building));
    return ops_->rename_noreplace(building, entry_path(id));
  };
  if (Status done = build(); !done.is_ok()) {
    (void)ops_->rename(parcel, raw_file);  // it may not be there yet
    (void)os::remove_tree(*ops_, building);
    return done;
  }
  return ops_->fsync_dir(directory_);
}

// Out of sight by one rename, so that no half entry is ever listed.
Status Quarantine::remove(const std::string& id) const {
  const std::string trash = str_cat({tmp_directory_, "/", id, ".drop"});
  TRY(os::remove_tree(*ops_, trash));
  if (const Status moved = ops_->rename(entry_path(id), trash); !moved.is_ok()) {
    return moved.error_number() == ENOENT ? Status::ok() : moved;
  }
  return os::remove_tree(*ops_, trash);
}

Result<std::uint64_t> Quarantine::enforce_caps(TimePoint now) const {
  TRY_ASSIGN(const auto ids, list_ids(*ops_, directory_));
  std::vector<std::uint64_t> sizes;
  std::uint64_t total = 0;
  for (const std::string& id : ids) {
    const auto info = ops_->stat(parcel_file(id));
    sizes.push_back(info.is_ok() ? info->size : 0);
    total += sizes.back();
  }
  std::uint64_t removed = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool old = id_time(ids[i]).value_or(now) + limits_.age < now;
    const bool too_many = ids.size() - i > limits_.count;
    const bool too_big = total > limits_.bytes && i + 1 < ids.size();
    if (!old && !too_many && !too_big) {
      break;
    }
    TRY(remove(ids[i]));
    total -= sizes[i];
    ++removed;
  }
  if (removed != 0) {
    TRY(bump("evicted", removed));
  }
  return removed;
}

Status Quarantine::bump(std::string_view counter, std::uint64_t by) const {
  TRY_ASSIGN(Fields fields, read_fields(*ops_, entry_path(kCountersFile)));
  fields.set_number(counter, fields.get_number(counter) + by);
  return os::write_file_atomically(*ops_, directory_, tmp_directory_, std::string(kCountersFile),
                                   fields.format(), kFileMode);
}

Result<std::vector<QuarantineEntry>> Quarantine::list() const {
  TRY_ASSIGN(const auto ids, list_ids(*ops_, directory_));
  std::vector<QuarantineEntry> entries;
  for (const std::string& id : ids) {
    auto entry = read_entry(id);
    entries.push_back(entry.is_ok() ? std::move(*entry) : entry_from_name(id));
  }
  return entries;
}

Result<QuarantineEntry> Quarantine::find(std::string_view id) const {
  const std::string shown = printable(id, 60);
  if (is_id(id)) {
    TRY_ASSIGN(const bool there, os::exists(*ops_, entry_path(id)));
    if (there) {
      auto entry = read_entry(std::string(id));
      return entry.is_ok() ? std::move(*entry) : entry_from_name(std::string(id));
    }
  }
  return Status::permanent("5.1.1", str_cat({"no quarantined parcel ", shown,
                                             "; `bsmtpctl quarantine list` shows all"}));
}

Result<std::string> Quarantine::resolve(std::string_view prefix) const {
  TRY_ASSIGN(const auto ids, list_ids(*ops_, directory_));
  std::string found;
  for (const std::string& id : ids) {
    if (prefix.size() >= 6 && id.compare(0, prefix.size(), prefix) == 0) {
      if (!found.empty()) {
        return Status::permanent("5.1.1", str_cat({"several quarantined parcels begin with ",
                                                   prefix, "; give more of the id"}));
      }
      found = id;
    }
  }
  if (found.empty()) {
    return Status::permanent("5.1.1", str_cat({"no quarantined parcel ", printable(prefix, 60),
                                               "; `bsmtpctl quarantine list` shows all"}));
  }
  return found;
}

Status Quarantine::drop(std::string_view id) const {
  if (!is_id(id)) {
    return Status::permanent("5.1.1", printable(id, 60) + " is no quarantine id");
  }
  TRY_ASSIGN(const os::File held, lock());
  return remove(std::string(id));
}

Result<std::uint64_t> Quarantine::sweep(TimePoint now) const {
  TRY_ASSIGN(const os::File held, lock());
  return enforce_caps(now);
}

Status Quarantine::count(QuarantineCounter counter) const {
  TRY_ASSIGN(const os::File held, lock());
  return bump(counter == QuarantineCounter::kShapeless ? "shapeless" : "shed", 1);
}

Result<QuarantineCounters> Quarantine::counters() const {
  TRY_ASSIGN(const Fields fields, read_fields(*ops_, entry_path(kCountersFile)));
  return QuarantineCounters{fields.get_number("quarantined"), fields.get_number("shapeless"),
                            fields.get_number("shed"), fields.get_number("evicted")};
}

Result<std::optional<QuarantineDigest>> Quarantine::pending_digest(
    TimePoint now, std::chrono::seconds interval) const {
  TRY_ASSIGN(const Fields reported, read_fields(*ops_, entry_path(kReportedFile)));
  const TimePoint last_report = from_milliseconds(reported.get_number("time-ms"));
  // A clock that was set back must not silence the report for ever.
  if (last_report <= now && now - last_report < interval) {
    return std::optional<QuarantineDigest>();
  }
  const std::uint64_t known_until = reported.get_number("until-ms");
  TRY_ASSIGN(auto entries, list());
  std::erase_if(entries,
                [&](const QuarantineEntry& e) { return milliseconds(e.last) <= known_until; });
  if (entries.empty()) {
    return std::optional<QuarantineDigest>();
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.last > b.last; });
  const QuarantineEntry& newest = entries.front();
  QuarantineDigest digest;
  digest.id = str_cat({hex_time(newest.last), digest_part(newest.id)});
  digest.marker =
      str_cat({std::to_string(milliseconds(now)), " ", std::to_string(milliseconds(newest.last))});
  digest.text =
      str_cat({"Parcels that arrived and were not trusted: ", std::to_string(entries.size()),
               " new since the last report. Nothing in them was delivered.\r\n\r\n"});
  for (std::size_t i = 0; i < std::min(entries.size(), kDigestListed); ++i) {
    digest.text += describe(entries[i]) + "\r\n";
  }
  if (entries.size() > kDigestListed) {
    digest.text += str_cat({"and ", std::to_string(entries.size() - kDigestListed),
                            " more: bsmtpctl quarantine list\r\n\r\n"});
  }
  TRY_ASSIGN(const QuarantineCounters all, counters());
  digest.text +=
      str_cat({"Since the spool was made: ", std::to_string(all.quarantined), " quarantined, ",
               std::to_string(all.shapeless), " mails that were no parcels dropped, ",
               std::to_string(all.shed), " dropped because the disk was nearly full, ",
               std::to_string(all.evicted), " old ones removed.\r\n\r\n", kDigestAdvice});
  return std::optional<QuarantineDigest>(std::move(digest));
}

Status Quarantine::mark_reported(const QuarantineDigest& digest) const {
  const auto words = split_blank(digest.marker);
  if (words.size() != 2) {
    return Status::temporary("4.3.5", "quarantine: bad report marker");
  }
  Fields fields;
  fields.set("time-ms", words[0]);
  fields.set("until-ms", words[1]);
  TRY_ASSIGN(const os::File held, lock());
  return os::write_file_atomically(*ops_, directory_, tmp_directory_, std::string(kReportedFile),
                                   fields.format(), kFileMode);
}

}  // namespace bsmtp::spool
