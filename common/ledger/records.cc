// See ledger.h: the rows of parcels, recipients, attempts and notices.
#include <sqlite3.h>

#include "common/ledger/ledger.h"
#include "common/ledger/query.h"

namespace bsmtp::ledger {
Result<ParcelKnown> Ledger::note_parcel(const ParcelRecord& parcel) {
  std::optional<ParcelRecord> known;
  TRY_ASSIGN(known, find_parcel(parcel.peer, parcel.parcel_id));
  if (known && known->digest != parcel.digest) {
    return ParcelKnown::kConflict;
  }
  if (known) {
    TRY(Query(*this, kExtendParcel)
            .text(parcel.peer)
            .text(parcel.parcel_id)
            .number(to_seconds(parcel.retain_until))
            .step("cannot keep a parcel longer")
            .status());
    return known->done ? ParcelKnown::kDone : ParcelKnown::kOpen;
  }
  std::optional<spool::ParcelAnswer> tombstone;
  TRY_ASSIGN(tombstone, find_tombstone(parcel.peer, parcel.parcel_id));
  if (tombstone) {
    return tombstone->digest == parcel.digest ? ParcelKnown::kBuried : ParcelKnown::kConflict;
  }
  TRY(Query(*this, kInsertParcel)
          .text(parcel.peer)
          .text(parcel.parcel_id)
          .text(parcel.digest)
          .number(to_seconds(parcel.accepted))
          .number(to_seconds(parcel.retain_until))
          .step("cannot note a parcel")
          .status());
  return ParcelKnown::kNew;
}

Status Ledger::finish_parcel(std::string_view peer, std::string_view parcel_id) {
  return Query(*this, kFinishParcel)
      .text(peer)
      .text(parcel_id)
      .step("cannot finish a parcel")
      .status();
}

Result<std::optional<ParcelRecord>> Ledger::find_parcel(std::string_view peer,
                                                        std::string_view parcel_id) {
  Query query(*this, kFindParcel);
  bool found = false;
  TRY_ASSIGN(found, query.text(peer).text(parcel_id).step("cannot look up a parcel"));
  if (!found) {
    return std::optional<ParcelRecord>();
  }
  ParcelRecord record;
  record.peer = peer;
  record.parcel_id = parcel_id;
  record.digest = query.column_text(0);
  record.done = query.column_number(1) != 0;
  record.accepted = from_seconds(query.column_number(2));
  record.retain_until = from_seconds(query.column_number(3));
  return std::optional<ParcelRecord>(std::move(record));
}

Result<std::optional<RecipientRecord>> Ledger::find_recipient(std::string_view peer,
                                                              std::string_view key) {
  Query query(*this, kFindRecipient);
  bool found = false;
  TRY_ASSIGN(found, query.text(peer).blob(key).step("cannot look up a recipient"));
  if (!found) {
    return std::optional<RecipientRecord>();
  }
  RecipientRecord record;
  record.outcome = static_cast<Outcome>(query.column_number(0));
  record.parcel_id = query.column_text(1);
  record.message = static_cast<std::uint64_t>(query.column_number(2));
  record.when = from_seconds(query.column_number(3));
  return std::optional<RecipientRecord>(std::move(record));
}

Status Ledger::record_recipient(std::string_view peer, std::string_view key,
                                const RecipientRecord& record, TimePoint retain_until) {
  return Query(*this, kInsertRecipient)
      .text(peer)
      .blob(key)
      .number(static_cast<int>(record.outcome))
      .text(record.parcel_id)
      .number(static_cast<sqlite3_int64>(record.message))
      .number(to_seconds(record.when))
      .number(to_seconds(retain_until))
      .step("cannot record a recipient")
      .status();
}

Status Ledger::note_attempt(std::string_view peer, std::string_view parcel_id,
                            std::uint64_t message, TimePoint now) {
  return Query(*this, kInsertAttempt)
      .text(peer)
      .text(parcel_id)
      .number(static_cast<sqlite3_int64>(message))
      .number(to_seconds(now))
      .step("cannot note an attempt")
      .status();
}

Status Ledger::clear_attempt(std::string_view peer, std::string_view parcel_id,
                             std::uint64_t message) {
  return Query(*this, kDeleteAttempt)
      .text(peer)
      .text(parcel_id)
      .number(static_cast<sqlite3_int64>(message))
      .step("cannot clear an attempt")
      .status();
}

Result<std::vector<std::uint64_t>> Ledger::attempts(std::string_view peer,
                                                    std::string_view parcel_id) {
  Query query(*this, kListAttempts);
  query.text(peer).text(parcel_id);
  std::vector<std::uint64_t> messages;
  for (;;) {
    bool row = false;
    TRY_ASSIGN(row, query.step("cannot list attempts"));
    if (!row) {
      return messages;
    }
    messages.push_back(static_cast<std::uint64_t>(query.column_number(0)));
  }
}

Result<bool> Ledger::notice_sent(std::string_view notice_id) {
  Query query(*this, kFindNotice);
  return query.text(notice_id).step("cannot look up a notice");
}

Status Ledger::note_notice(std::string_view notice_id, TimePoint retain_until) {
  return Query(*this, kInsertNotice)
      .text(notice_id)
      .number(to_seconds(retain_until))
      .step("cannot note a notice")
      .status();
}

Result<std::uint64_t> Ledger::expire(TimePoint now, std::uint64_t limit) {
  std::uint64_t removed = 0;
  for (const Sql sql : {kExpireParcels, kExpireRecipients, kExpireNotices, kExpireTombstones}) {
    TRY(Query(*this, sql)
            .number(to_seconds(now))
            .number(static_cast<sqlite3_int64>(limit))
            .step("cannot forget old rows")
            .status());
    removed += static_cast<std::uint64_t>(sqlite3_changes(db_));
  }
  return removed;
}

Result<LedgerCounts> Ledger::counts() {
  Query query(*this, kCounts);
  TRY(query.step("cannot count").status());
  LedgerCounts counts;
  counts.parcels = static_cast<std::uint64_t>(query.column_number(0));
  counts.recipients = static_cast<std::uint64_t>(query.column_number(1));
  counts.attempts = static_cast<std::uint64_t>(query.column_number(2));
  counts.notices = static_cast<std::uint64_t>(query.column_number(3));
  counts.receipts = static_cast<std::uint64_t>(query.column_number(4));
  counts.tombstones = static_cast<std::uint64_t>(query.column_number(5));
  return counts;
}

}  // namespace bsmtp::ledger
