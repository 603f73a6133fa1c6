// See worker.h: messages that are damaged on our disk. Until their time is over they wait, because
// an admin may have a whole copy; then their senders are told, or, where the envelope is damaged
// too, the postmaster.
#include <string>
#include <utility>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/deliver/handover.h"
#include "mda/deliver/worker.h"

namespace bsmtp::mda {
namespace {

const spool::AcceptedMeta& meta_of_damaged(const ParcelQueue::Job& job) {
  return job.parcel->dir.meta();
}

}  // namespace

void DeliveryWorker::unreadable(const ParcelQueue::Job& job, const Status& why) {
  // One bad message keeps its parcel in deferred/, the other messages go on.
  log::alarm(str_cat({meta_of_damaged(job).parcel_id, ".", std::to_string(job.message)}),
             str_cat({"message cannot be read, the others go on: ", why.text()}));
  flush();
  shared_.queue.set_aside(job);
}

Status DeliveryWorker::check_text(const Attempt& attempt) const {
  const ParcelQueue::Job& job = attempt.job;
  TRY_ASSIGN(const std::string found, plain_digest(*attempt.item));
  const std::string& wanted = meta_of_damaged(job).messages.at(job.message - 1).text_digest;
  return found == wanted ? Status::ok() : text_damage(*attempt.item, wanted);
}

bool DeliveryWorker::is_lost(const ParcelQueue::Job& job) const {
  return job.parcel->dir.deferral().damaged != 0 && shared_.clock.now() >= expiry(job).expires;
}

void DeliveryWorker::rescue(Attempt& attempt, const Status& why) {
  attempt.lost = true;
  attempt.damage = why;
  if (attempt.item) {
    return;  // it is the text
  }
  auto envelope = attempt.job.parcel->dir.read_envelope(attempt.job.message);
  if (envelope.is_ok()) {
    attempt.rescued = std::move(envelope).value();
    plan(attempt, *attempt.rescued);
  }
}

void DeliveryWorker::give_up(Attempt attempt) {
  const std::string id =
      str_cat({meta_of_damaged(attempt.job).parcel_id, ".", std::to_string(attempt.job.message)});
  const bool untold = !attempt.item && !attempt.rescued;
  log::alarm(id, str_cat({"damaged and past its time for delivery, so given up; ",
                          untold ? "its envelope cannot be read, so that only the postmaster can "
                                   "be told: "
                                 : "its sender is told: ",
                          attempt.damage.text()}));
  const Status why = Status::permanent(
      "5.3.0", str_cat({"the message was damaged on the disk of ", shared_.config->host,
                        " and could not be delivered; please send it again"}));
  for (RecipientState& state : attempt.states) {
    if (state.fate == Fate::kUntried) {
      state.fate = Fate::kFailed;
      state.status = why;
    }
  }
  settle(std::move(attempt));
}

Status DeliveryWorker::tell_postmaster(const Attempt& attempt) {
  const spool::AcceptedMeta& meta = meta_of_damaged(attempt.job);
  return tell_of_unreadable(
      shared_.notices, meta.peer,
      str_cat({"parcel ", meta.parcel_id, " message ", std::to_string(attempt.job.message)}),
      attempt.damage, shared_.clock.now());
}

Status DeliveryWorker::write_report(const Attempt& attempt, NoticeKind kind,
                                    const std::vector<DsnRecipient>& recipients) {
  Original original;
  original.octets = meta_of_damaged(attempt.job).messages.at(attempt.job.message - 1).text_bytes;
  original.damaged = attempt.lost;
  original.text = attempt.item ? attempt.item->plain_text() : nullptr;
  return write_dsn(subject_of(attempt), kind,
                   attempt.item ? attempt.item->envelope() : *attempt.rescued, original,
                   recipients);
}

}  // namespace bsmtp::mda
