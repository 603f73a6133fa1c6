#include "mda/dispatch/receipt_desk.h"

#include <algorithm>
#include <cerrno>

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/parcel/receipt.h"
#include "common/spool/accepted.h"
#include "common/spool/fields.h"
#include "mda/deliver/accepted_dir.h"
#include "mda/deliver/parcel_note.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kMaxMetaFile = 256U << 20U;
// Parcels may arrive a hundred a second; nobody waits for their receipts.
constexpr std::chrono::seconds kBetweenLooks{2};

bool is_gone(const Status& status) {
  return status.error_number() == ENOENT;
}

// What the ledger says about a question.
struct Decision {
  spool::ParcelAnswer answer;
  bool buried = false;    // by this question
  bool conflict = false;  // another parcel has this id
};

// Inside a transaction: the one place where a question gets its answer. A parcel that was taken
// stays taken, and one that was refused stays refused, whatever a later copy met.
Result<Decision> decide(ledger::Ledger& ledger, const config::Config& config,
                        const spool::AskedRecord& asked, TimePoint now) {
  const TimePoint keep = std::max(now, asked.expires) + config.ledger_retention;
  Decision decision;
  decision.answer = asked.answer;
  TRY_ASSIGN(const auto parcel, ledger.find_parcel(asked.peer, asked.answer.parcel_id));
  TRY_ASSIGN(const auto tombstone, ledger.find_tombstone(asked.peer, asked.answer.parcel_id));
  if (parcel || tombstone) {
    decision.conflict = (parcel ? parcel->digest : tombstone->digest) != asked.answer.digest;
    decision.answer = parcel ? spool::ParcelAnswer{asked.answer.parcel_id, asked.answer.digest,
                                                   spool::ParcelFate::kAccepted, "2.0.0", ""}
                             : *tombstone;
  } else if (asked.answer.fate == spool::ParcelFate::kAccepted) {
    const ledger::ParcelRecord record{asked.peer, asked.answer.parcel_id, asked.answer.digest,
                                      false,      asked.received,         keep};
    TRY(ledger.note_parcel(record).status());
  } else {
    TRY(ledger.bury(asked.peer, asked.answer, now, keep));
    decision.buried = true;
  }
  if (!decision.conflict) {
    TRY(ledger.note_receipt_due(asked.peer, decision.answer,
                                receipt_due_at(config, asked.at_once, now)));
  }
  return decision;
}

}  // namespace

ReceiptDesk::ReceiptDesk(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
                         NoticeStore& notices, const Clock& clock, bool once, std::string only_peer)
    : config_(std::move(config)),
      spool_(spool),
      notices_(notices),
      clock_(clock),
      once_(once),
      only_peer_(std::move(only_peer)) {}

bool ReceiptDesk::serves(const std::string& peer) const {
  return only_peer_.empty() || only_peer_ == peer;
}

void ReceiptDesk::note(const std::string& about, const Status& status) {
  if (!status.is_ok()) {
    log::trouble(about, status);
    first_ = first_.is_ok() ? status : first_;
    come_again(clock_.now() + config_->retry_initial);
  }
}

void ReceiptDesk::come_again(TimePoint when) {
  if (!next_ || when < *next_) {
    next_ = when;
  }
}

Result<std::optional<TimePoint>> ReceiptDesk::run(ledger::Journal& journal) {
  first_ = Status::ok();
  next_.reset();
  note("accepted", note_parcels(journal));
  note("asked", take_questions(journal));
  note("receipts", write_due(journal));
  if (!first_.is_ok()) {
    return first_;
  }
  return next_;
}

Status ReceiptDesk::note_parcels(ledger::Journal& journal) {
  const TimePoint now = clock_.now();
  if (!once_ && now >= looked_ && now < looked_ + kBetweenLooks) {
    come_again(looked_ + kBetweenLooks);
    return Status::ok();
  }
  looked_ = now;
  TRY_ASSIGN(const std::vector<std::string> names, AcceptedDir::list_accepted(spool_));
  const std::set<std::string> listed(names.begin(), names.end());
  std::erase_if(noted_, [&](const std::string& name) { return listed.count(name) == 0; });
  for (const std::string& name : names) {
    if (noted_.count(name) != 0) {
      continue;
    }
    const Status status = note_parcel(journal, name);
    if (status.is_ok()) {
      noted_.insert(name);
    }
    note(name, status);
  }
  return Status::ok();
}

Status ReceiptDesk::note_parcel(ledger::Journal& journal, const std::string& name) {
  const std::string file =
      str_cat({spool_.paths().accepted(), "/", name, "/", spool::kAcceptedMetaName});
  const auto text = os::read_file(spool_.ops(), file, kMaxMetaFile);
  if (!text.is_ok()) {
    return is_gone(text.status()) ? Status::ok() : text.status();
  }
  const auto meta = spool::parse_accepted_meta(*text, file);
  // What cannot be read is the keeper's to report.
  if (!meta.is_ok() || meta->receipt == 0 || !serves(meta->peer)) {
    return Status::ok();
  }
  return journal.run([&](ledger::Ledger& ledger) {
    return note_accepted(ledger, *config_, *meta, clock_.now(), false).status();
  });
}

Status ReceiptDesk::take_questions(ledger::Journal& journal) {
  TRY_ASSIGN(auto names, spool_.ops().list(spool_.paths().inbound_asked()));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const auto parts = spool::parse_asked_record_name(name);
    if (!parts || !serves(parts->peer)) {
      continue;
    }
    note(name, take_question(journal, name));
  }
  return Status::ok();
}

// A record that cannot be read is not lost: its sender asks again.
Status ReceiptDesk::set_aside(const std::string& name, const Status& why) {
  log::alarm(name, str_cat({why.text(), "; moved to inbound/tmp, its peer will ask again"}));
  return spool_.ops().rename(str_cat({spool_.paths().inbound_asked(), "/", name}),
                             str_cat({spool_.paths().inbound_tmp(), "/", name, ".bad"}));
}

Status ReceiptDesk::take_question(ledger::Journal& journal, const std::string& name) {
  const std::string file = str_cat({spool_.paths().inbound_asked(), "/", name});
  const auto text = os::read_file(spool_.ops(), file, spool::kMaxFieldsFile);
  if (!text.is_ok()) {
    return is_gone(text.status()) ? Status::ok() : text.status();
  }
  const auto record = spool::parse_asked_record(*text, file);
  if (!record.is_ok()) {
    return set_aside(name, record.status());
  }
  const config::Peer* peer = config_->find_peer(record->peer);
  if (peer == nullptr || !peer->wants_receipts()) {
    return os::remove_if_exists(spool_.ops(), file);
  }
  if (record->answer.fate != spool::ParcelFate::kAccepted) {
    // An earlier copy may have been accepted a moment ago: it stays accepted.
    TRY(note_parcel(journal,
                    spool::accepted_directory_name(record->peer, record->answer.parcel_id)));
  }
  Decision decision;
  TRY(journal.run([&](ledger::Ledger& ledger) {
    TRY_ASSIGN(decision, decide(ledger, *config_, *record, clock_.now()));
    return Status::ok();
  }));
  const spool::ParcelAnswer& answer = decision.answer;
  if (decision.conflict) {
    log::alarm(answer.parcel_id, str_cat({"peer ", record->peer,
                                          " sent two different parcels under one id; the "
                                          "second gets no receipt: ask its admin"}));
  } else if (decision.buried) {
    log::parcel_tombstoned(answer.parcel_id, record->peer, spool::fate_name(answer.fate),
                           answer.text);
  }
  return os::remove_if_exists(spool_.ops(), file);
}

Status ReceiptDesk::write_due(ledger::Journal& journal) {
  std::vector<ledger::ReceiptsWaiting> peers;
  TRY(journal.run([&](ledger::Ledger& ledger) {
    TRY_ASSIGN(peers, ledger.receipts_waiting());
    return Status::ok();
  }));
  for (const ledger::ReceiptsWaiting& waiting : peers) {
    if (!serves(waiting.peer)) {
      continue;
    }
    const Status status = write_for(journal, waiting);
    if (!status.is_ok()) {
      // Own key expired, home unreadable: the answers wait, and an admin must know.
      log::alarm("receipts", str_cat({"peer ", waiting.peer, ": ", std::to_string(waiting.count),
                                      " answers wait: ", status.text()}));
    }
    note("receipts", status);
  }
  return Status::ok();
}

Status ReceiptDesk::write_for(ledger::Journal& journal, const ledger::ReceiptsWaiting& waiting) {
  const config::Peer* peer = config_->find_peer(waiting.peer);
  if (peer == nullptr || !peer->wants_receipts()) {
    return journal.run(
        [&](ledger::Ledger& ledger) { return ledger.drop_receipts(waiting.peer).status(); });
  }
  const TimePoint now = clock_.now();
  const bool gathered = waiting.count >= kGathered;
  const TimePoint due = gathered ? std::min(now, waiting.oldest) : waiting.oldest;
  const std::chrono::seconds between = gathered ? kBetweenFullReceipts : kBetweenReceipts;
  // A receipt of the future was written before the clock was put right.
  const TimePoint last = waiting.last_written > now ? TimePoint() : waiting.last_written;
  if (const TimePoint when = std::max(due, last + between); when > now) {
    come_again(when);
    return Status::ok();
  }
  std::vector<ledger::ReceiptDue> answers;
  TRY(journal.run([&](ledger::Ledger& ledger) {
    TRY_ASSIGN(answers, ledger.receipts_due(waiting.peer, spool::kMaxReceiptParcels));
    return Status::ok();
  }));
  if (answers.size() < waiting.count) {
    come_again(now + between);
  }
  return answers.empty() ? Status::ok()
                         : write_receipt(journal, *peer, waiting.last_written, answers);
}

Status ReceiptDesk::write_receipt(ledger::Journal& journal, const config::Peer& peer,
                                  TimePoint last_written,
                                  const std::vector<ledger::ReceiptDue>& due) {
  const TimePoint now = clock_.now();
  parcel::ReceiptMail mail;
  // Made from what the ledger holds: after a crash the same receipt is the same notice.
  const auto seconds = [](TimePoint when) {
    return std::to_string(
        std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count());
  };
  std::string about = seconds(last_written);
  for (const ledger::ReceiptDue& one : due) {
    about += str_cat({" ", one.answer.parcel_id, " ", one.answer.digest, " ",
                      spool::fate_name(one.answer.fate), " ", seconds(one.due)});
    mail.facts.answers.push_back(one.answer);
  }
  const std::string id = notice_id({"receipt", peer.name, about});
  mail.facts.from = to_lower(config_->host);
  mail.facts.to = to_lower(peer.host);
  mail.facts.time = now;
  mail.from = config_->parcel_address();
  mail.to = peer.parcel_address();
  mail.message_id = str_cat({"<", id, "@", config_->host, ">"});
  auto signer = crypto::Signer::open(
      {config_->sign_home(), config_->sign_key, config_->sign_passphrase_file});
  TRY(signer.status());
  mail.signer = &signer.value();
  TRY_ASSIGN(const std::string text, parcel::build_receipt(mail));
  mail::Envelope envelope;
  mail::Recipient recipient;
  recipient.address = mail.to;
  recipient.notify = "NEVER";
  envelope.recipients.push_back(std::move(recipient));
  TRY(notices_.put(id, envelope, text, "receipt", peer.name));
  TRY(journal.run(
      [&](ledger::Ledger& ledger) { return ledger.receipts_written(peer.name, due, now); }));
  log::receipt_written(id, peer.name, mail.to, due.size());
  for (const ledger::ReceiptDue& one : due) {
    log::parcel_answered(one.answer.parcel_id, peer.name, id, spool::fate_name(one.answer.fate),
                         one.answer.code);
  }
  return Status::ok();
}

}  // namespace bsmtp::mda
