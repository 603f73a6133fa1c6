#include "mda/receive/answers.h"

#include "common/base/id.h"
#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kDigestInName = 16;
constexpr std::size_t kMaxQueueId = 100;

// A word, or nothing.
std::string queue_word(const std::string& queue_id) {
  const std::string word = spool::answer_text(queue_id).substr(0, kMaxQueueId);
  return word.find(' ') == std::string::npos ? word : "";
}

// The directory may be missing: the dispatcher of an earlier release did not make it.
Status keep_record(const spool::Spool& spool, const std::string& directory, const std::string& name,
                   const std::string& text) {
  os::FileOps& ops = spool.ops();
  TRY_ASSIGN(const bool there, os::exists(ops, directory));
  if (!there) {
    TRY(os::ensure_directory(ops, directory, spool::kDirMode));
    TRY(ops.fsync_dir(spool.paths().inbound()));
  }
  return os::write_file_atomically(spool.ops(), directory, spool.paths().inbound_tmp(), name, text,
                                   spool::kFileMode);
}

}  // namespace

parcel::Receipt receipt_wanted(const config::Config& config, const config::Peer& peer,
                               const parcel::Manifest& manifest) {
  return peer.wants_receipts() && !config.sign_key.empty() ? manifest.receipt
                                                           : parcel::Receipt::kNone;
}

Status keep_question(const spool::Spool& spool, const Question& question) {
  const parcel::Manifest& manifest = *question.manifest;
  spool::AskedRecord record;
  record.peer = question.peer;
  record.answer = {manifest.id, question.digest, question.fate, question.code,
                   spool::answer_text(question.reason)};
  record.at_once = manifest.receipt == parcel::Receipt::kWantedNow;
  record.expires = manifest.expires;
  record.received = question.now;
  record.queue_id = queue_word(question.queue_id);
  TRY_ASSIGN(const std::string text, spool::format_asked_record(record));
  const std::string name = spool::asked_record_name(question.peer, manifest.id,
                                                    question.digest.substr(0, kDigestInName));
  return keep_record(spool, spool.paths().inbound_asked(), name, text);
}

Result<std::string> keep_receipt(const spool::Spool& spool, const parcel::OpenedReceipt& receipt,
                                 const std::string& queue_id, TimePoint now) {
  spool::ReceiptRecord record;
  record.peer = receipt.peer;
  record.fingerprint = receipt.fingerprint;
  record.from = receipt.facts.from;
  record.to = receipt.facts.to;
  record.time = receipt.facts.time;
  record.received = now;
  record.queue_id = queue_word(queue_id);
  record.parcels = receipt.facts.answers;
  TRY_ASSIGN(const std::string text, spool::format_receipt_record(record));
  const std::string id = receipt.digest.substr(0, kIdLength);
  TRY(keep_record(spool, spool.paths().inbound_receipts(), id, text));
  return id;
}

}  // namespace bsmtp::mda
