// See acknowledge.h.
#include "mda/dispatch/acknowledge.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/spool/receipt_times.h"

namespace bsmtp::mda {
namespace {

// Room for the most lines a record may have.
constexpr std::size_t kMaxRecord = spool::kMaxFieldsFile;

std::uint64_t seconds_since(TimePoint then, TimePoint now) {
  return now <= then ? 0
                     : static_cast<std::uint64_t>(
                           std::chrono::duration_cast<std::chrono::seconds>(now - then).count());
}

Status why_refused(const config::Peer& peer, const spool::ParcelAnswer& answer) {
  if (answer.fate == spool::ParcelFate::kExpired) {
    return Status::permanent("5.4.7", str_cat({"the mail reached the gateway ", peer.host,
                                               " too late and was dropped"}));
  }
  return Status::permanent(answer.code.starts_with("5.") ? answer.code : "5.0.0",
                           str_cat({"the gateway ", peer.host, " refused the mail"}));
}

Status apply(SubmitContext& context, const config::Peer& peer, const spool::ReceiptRecord& record,
             const spool::ParcelAnswer& answer) {
  std::optional<FoundParcel> found;
  TRY_ASSIGN(found, find_by_id(context.spool, peer.name, answer.parcel_id));
  const AnswerStep step =
      judge_answer(answer, peer, found ? found->dir.stage() : spool::Stage::kSent,
                   found ? &found->state : nullptr);
  const TimePoint now = context.clock.now();
  switch (step) {
    case AnswerStep::kRemove:
      log::parcel_acknowledged(answer.parcel_id, peer.name, record.fingerprint,
                               seconds_since(found->state.handed, now), found->state.resends);
      return found->dir.remove();
    case AnswerStep::kFail:
      // Its word is about this parcel, all copies of it. What was split has another id.
      found->state.failing_unknown = false;
      return fail_copy(context, found->dir, found->state, found->state.earlier_copy,
                       why_refused(peer, answer), {answer.text, "x-bsmtp", peer.host});
    case AnswerStep::kTooLate:
      log::parcel_unknown(answer.parcel_id, peer.name,
                          "the peer's receipt says that it arrived, after its senders were told "
                          "that it did not or might not have");
      return Status::ok();
    default:
      log::receipt_ignored(answer.parcel_id, peer.name, answer_step_name(step));
      return Status::ok();
  }
}

Status handle_record(SubmitContext& context, const std::string& id) {
  const std::string path = str_cat({context.spool.paths().inbound_receipts(), "/", id});
  os::FileOps& ops = context.spool.ops();
  std::string text;
  TRY_ASSIGN(text, os::read_file(ops, path, kMaxRecord));
  const auto record = spool::parse_receipt_record(text, path);
  if (!record.is_ok()) {
    // bsmtp-in wrote it whole or not at all: a damaged disk. The peer is asked again.
    log::alarm(id, record.status().text());
    return os::remove_if_exists(ops, path);
  }
  const config::Peer* peer = context.config->find_peer(record->peer);
  if (peer == nullptr) {
    log::receipt_ignored(id, record->peer, "no-such-peer");
    return os::remove_if_exists(ops, path);
  }
  if (peer->wants_receipts()) {
    TRY(spool::note_receipt(context.spool, peer->name, context.clock.now()));
  }
  Status first;
  for (const spool::ParcelAnswer& answer : record->parcels) {
    const Status applied = apply(context, *peer, *record, answer);
    first = first.is_ok() ? applied : first;
  }
  TRY(first);
  return os::remove_if_exists(ops, path);
}

}  // namespace

std::string_view answer_step_name(AnswerStep step) {
  constexpr std::array<std::string_view, 7> kNames = {
      "no-such-parcel", "other-digest", "not-asked", "remove", "fail", "too-late", "known"};
  return kNames.at(static_cast<std::size_t>(step));
}

AnswerStep judge_answer(const spool::ParcelAnswer& answer, const config::Peer& peer,
                        spool::Stage stage, const ParcelState* state) {
  if (state == nullptr) {
    return AnswerStep::kNoSuchParcel;
  }
  if (state->digest.empty() || state->digest != answer.digest) {
    return AnswerStep::kOtherDigest;
  }
  if (!awaits_receipt(peer, *state)) {
    return AnswerStep::kNotAsked;
  }
  const bool told = stage == spool::Stage::kFailed || !state->failing.empty();
  if (answer.fate == spool::ParcelFate::kAccepted) {
    return told ? AnswerStep::kTooLate : AnswerStep::kRemove;
  }
  return told ? AnswerStep::kKnown : AnswerStep::kFail;
}

Status handle_receipts(SubmitContext& context) {
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool::list_ids(context.spool.ops(), context.spool.paths().inbound_receipts()));
  Status first;
  for (const std::string& id : ids) {
    const Status status = handle_record(context, id);
    if (!status.is_ok()) {
      log::trouble(id, status);
      first = first.is_ok() ? status : first;
    }
  }
  return first;
}

}  // namespace bsmtp::mda
