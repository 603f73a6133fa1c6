#include "mda/deliver/parcel_note.h"

namespace bsmtp::mda {
namespace {

using ledger::ParcelKnown;

bool is_owed(ParcelKnown known, bool came_again) {
  return known == ParcelKnown::kNew ||
         (came_again && (known == ParcelKnown::kDone || known == ParcelKnown::kBuried));
}

}  // namespace

ledger::ParcelRecord parcel_record(const config::Config& config, const spool::AcceptedMeta& meta) {
  ledger::ParcelRecord record;
  record.peer = meta.peer;
  record.parcel_id = meta.parcel_id;
  record.digest = meta.digest;
  record.accepted = meta.accepted;
  record.retain_until =
      meta.expires.value_or(meta.accepted + config.replay_window) + config.ledger_retention;
  return record;
}

TimePoint receipt_due_at(const config::Config& config, bool at_once, TimePoint now) {
  return at_once ? now : now + config.receipt_delay;
}

Result<ParcelNote> note_accepted(ledger::Ledger& ledger, const config::Config& config,
                                 const spool::AcceptedMeta& meta, TimePoint now, bool came_again) {
  ParcelNote note;
  TRY_ASSIGN(note.known, ledger.note_parcel(parcel_record(config, meta)));
  note.owed = meta.receipt != 0 && is_owed(note.known, came_again);
  if (!note.owed) {
    return note;
  }
  spool::ParcelAnswer answer;
  answer.parcel_id = meta.parcel_id;
  answer.digest = meta.digest;
  if (note.known == ParcelKnown::kBuried) {
    TRY_ASSIGN(const auto tombstone, ledger.find_tombstone(meta.peer, meta.parcel_id));
    answer = tombstone.value_or(answer);
  }
  TRY(ledger.note_receipt_due(meta.peer, answer, receipt_due_at(config, meta.receipt == 2, now)));
  return note;
}

}  // namespace bsmtp::mda
