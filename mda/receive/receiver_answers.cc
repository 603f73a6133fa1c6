// See receiver.h: receipts of peers, and peers that ask what became of a parcel.
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/parcel/receipt.h"
#include "mda/receive/answers.h"
#include "mda/receive/policy.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda {

Status Receiver::ask(const spool::Spool& spool, const ReceiveRequest& request, Question question) {
  const config::Peer* peer = config_->find_peer(question.peer);
  if (peer == nullptr ||
      receipt_wanted(*config_, *peer, *question.manifest) == parcel::Receipt::kNone) {
    return Status::ok();
  }
  if (before_commit_) {
    TRY(before_commit_());
  }
  question.queue_id = request.queue_id;
  question.now = clock_.now();
  TRY(keep_question(spool, question));
  log::parcel_asked(question.manifest->id, question.peer, request.queue_id,
                    spool::fate_name(question.fate), question.code);
  return Status::ok();
}

Result<ReceiveReport> Receiver::refuse(const spool::Spool& spool, const ReceiveRequest& request,
                                       const parcel::Rejected& rejected) {
  ReceiveReport report;
  report.outcome = rejected.reason == parcel::Reject::kNotAParcel ? ReceiveOutcome::kDropped
                                                                  : ReceiveOutcome::kQuarantined;
  report.peer = rejected.peer;
  report.code = reject_code(rejected.reason);
  report.reason = str_cat({parcel::reject_name(rejected.reason), ": ", rejected.why});
  if (rejected.parser_died) {
    log::alarm("sandbox", str_cat({"a parcel of peer ", rejected.peer, ": ", rejected.why,
                                   "; it is in quarantine: keep it, it shows a fault of bsmtp-in "
                                   "or an attack on it, and tell the peer's admin"}));
  }
  if (!rejected.manifest) {
    return report;
  }
  const bool expired = rejected.reason == parcel::Reject::kExpired;
  Question question;
  question.peer = rejected.peer;
  question.manifest = &*rejected.manifest;
  question.digest = rejected.digest;
  question.fate = expired ? spool::ParcelFate::kExpired : spool::ParcelFate::kRejected;
  question.code = report.code;
  question.reason = report.reason;
  TRY(ask(spool, request, std::move(question)));
  // Its sender asks what became of it, and learns that; there is nothing in it to look at.
  const config::Peer* peer = config_->find_peer(rejected.peer);
  if (expired && peer != nullptr &&
      receipt_wanted(*config_, *peer, *rejected.manifest) != parcel::Receipt::kNone) {
    report.outcome = ReceiveOutcome::kAnswered;
    report.id = rejected.id;
  }
  return report;
}

Result<ReceiveReport> Receiver::take_receipt(const spool::Spool& spool,
                                             const ReceiveRequest& request,
                                             parcel::OpenRequest& open) {
  TRY_ASSIGN(const parcel::ReceiptResult result, parcel::open_receipt(open));
  if (const auto* rejected = std::get_if<parcel::Rejected>(&result)) {
    return refuse(spool, request, *rejected);
  }
  const auto& opened = std::get<parcel::OpenedReceipt>(result);
  ReceiveReport report;
  report.peer = opened.peer;
  const config::Peer* peer = config_->find_peer(opened.peer);
  if (peer == nullptr || !peer->wants_receipts()) {
    report.outcome = ReceiveOutcome::kDropped;
    report.code = "5.7.1";
    report.reason = "a receipt of peer " + opened.peer + ", whose receipts are off here";
    return report;
  }
  if (before_commit_) {
    TRY(before_commit_());
  }
  TRY_ASSIGN(report.id, keep_receipt(spool, opened, request.queue_id, clock_.now()));
  report.outcome = ReceiveOutcome::kReceipt;
  log::receipt_received(report.id, opened.peer, request.queue_id, request.client,
                        opened.fingerprint, opened.facts.answers.size());
  return report;
}

}  // namespace bsmtp::mda
