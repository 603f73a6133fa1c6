// See ledger.h: receipts to be written, and parcels that are never delivered.
#include <algorithm>

#include "common/ledger/ledger.h"
#include "common/ledger/query.h"

namespace bsmtp::ledger {
namespace {

// A row that another release wrote is read as what harms least: a refusal that is repeated.
spool::ParcelFate to_fate(sqlite3_int64 number) {
  return number == 0   ? spool::ParcelFate::kAccepted
         : number == 2 ? spool::ParcelFate::kExpired
                       : spool::ParcelFate::kRejected;
}

}  // namespace

Status Ledger::note_receipt_due(std::string_view peer, const spool::ParcelAnswer& answer,
                                TimePoint due) {
  return Query(*this, kInsertReceipt)
      .text(peer)
      .text(answer.parcel_id)
      .text(answer.digest)
      .number(static_cast<int>(answer.fate))
      .text(answer.code)
      .text(answer.text)
      .number(to_seconds(due))
      .step("cannot note a receipt that is due")
      .status();
}

Result<std::vector<ReceiptsWaiting>> Ledger::receipts_waiting() {
  Query query(*this, kListReceiptPeers);
  std::vector<ReceiptsWaiting> waiting;
  for (;;) {
    TRY_ASSIGN(const bool row, query.step("cannot list receipts that are due"));
    if (!row) {
      return waiting;
    }
    ReceiptsWaiting peer;
    peer.peer = query.column_text(0);
    peer.oldest = from_seconds(query.column_number(1));
    peer.count = static_cast<std::uint64_t>(query.column_number(2));
    peer.last_written = from_seconds(query.column_number(3));
    waiting.push_back(std::move(peer));
  }
}

Result<std::vector<ReceiptDue>> Ledger::receipts_due(std::string_view peer, std::uint64_t limit) {
  Query query(*this, kListReceipts);
  query.text(peer).number(static_cast<sqlite3_int64>(limit));
  std::vector<ReceiptDue> due;
  for (;;) {
    TRY_ASSIGN(const bool row, query.step("cannot list receipts that are due"));
    if (!row) {
      return due;
    }
    ReceiptDue receipt;
    receipt.answer.parcel_id = query.column_text(0);
    receipt.answer.digest = query.column_text(1);
    receipt.answer.fate = to_fate(query.column_number(2));
    receipt.answer.code = query.column_text(3);
    receipt.answer.text = query.column_text(4);
    receipt.due = from_seconds(query.column_number(5));
    due.push_back(std::move(receipt));
  }
}

Status Ledger::receipts_written(std::string_view peer, const std::vector<ReceiptDue>& receipts,
                                TimePoint now) {
  for (const ReceiptDue& receipt : receipts) {
    TRY(Query(*this, kDeleteReceipt)
            .text(peer)
            .text(receipt.answer.parcel_id)
            .step("cannot strike a receipt off")
            .status());
  }
  return Query(*this, kInsertReceiptTime)
      .text(peer)
      .number(to_seconds(now))
      .step("cannot note when a receipt was written")
      .status();
}

Result<std::uint64_t> Ledger::drop_receipts(std::string_view peer) {
  TRY(Query(*this, kDeleteReceipts).text(peer).step("cannot drop receipts").status());
  return static_cast<std::uint64_t>(sqlite3_changes(db_));
}

Status Ledger::bury(std::string_view peer, const spool::ParcelAnswer& answer, TimePoint now,
                    TimePoint retain_until) {
  return Query(*this, kInsertTombstone)
      .text(peer)
      .text(answer.parcel_id)
      .text(answer.digest)
      .number(static_cast<int>(answer.fate))
      .text(answer.code)
      .text(answer.text)
      .number(to_seconds(now))
      .number(to_seconds(retain_until))
      .step("cannot note that a parcel is never delivered")
      .status();
}

Result<std::optional<spool::ParcelAnswer>> Ledger::find_tombstone(std::string_view peer,
                                                                  std::string_view parcel_id) {
  Query query(*this, kFindTombstone);
  TRY_ASSIGN(const bool found, query.text(peer).text(parcel_id).step("cannot look up a parcel"));
  if (!found) {
    return std::optional<spool::ParcelAnswer>();
  }
  spool::ParcelAnswer answer;
  answer.parcel_id = parcel_id;
  answer.digest = query.column_text(0);
  answer.fate = to_fate(query.column_number(1));
  answer.code = query.column_text(2);
  answer.text = query.column_text(3);
  return std::optional<spool::ParcelAnswer>(std::move(answer));
}

Result<std::map<std::string, std::uint64_t>> Ledger::tombstones() {
  Query query(*this, kCountTombstones);
  std::map<std::string, std::uint64_t> counts;
  for (;;) {
    TRY_ASSIGN(const bool row, query.step("cannot count tombstones"));
    if (!row) {
      return counts;
    }
    counts[query.column_text(0)] = static_cast<std::uint64_t>(query.column_number(1));
  }
}

}  // namespace bsmtp::ledger
