#include "mda/receive/acceptance.h"

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/mail/transaction.h"
#include "mda/receive/answers.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kMaxMeta = 256U << 20U;

Result<mail::Envelope> read_envelope(os::FileOps& ops, const os::File& file,
                                     const WrittenMessage& message, std::size_t max_recipients) {
  os::RangeSource source(ops, file, message.offset, message.item_bytes);
  TRY_ASSIGN(const mail::TransactionHead head, mail::read_transaction_head(source, max_recipients));
  return head.envelope;
}

}  // namespace

Acceptance::Acceptance(const spool::Spool& spool, std::string directory)
    : spool_(&spool),
      directory_(std::move(directory)),
      writer_(std::make_unique<MessageWriter>(spool.ops(), directory_)) {
  scratch_.reserve(3);
  scratch_.emplace_back(directory_);
  for (const auto name : {spool::kAcceptedMessagesName, spool::kAcceptedMetaName}) {
    scratch_.emplace_back(str_cat({directory_, "/", name}));
  }
}

Acceptance::Acceptance(Acceptance&& other) noexcept
    : spool_(other.spool_),
      directory_(std::exchange(other.directory_, "")),
      scratch_(std::move(other.scratch_)),
      writer_(std::move(other.writer_)),
      refused_(other.refused_) {}

Acceptance::~Acceptance() {
  if (!directory_.empty()) {
    (void)os::remove_tree(spool_->ops(), directory_);
  }
}

Result<Acceptance> Acceptance::begin(const spool::Spool& spool, TimePoint now) {
  TRY_ASSIGN(const std::string id, make_id(now));
  const std::string directory = str_cat({spool.paths().inbound_tmp(), "/", id});
  TRY(os::ensure_directory(spool.ops(), directory, spool::kDirMode));
  return Acceptance(spool, directory);
}

Result<spool::AcceptedMeta> Acceptance::make_meta(const Commit& commit) {
  const parcel::Opened& opened = *commit.opened;
  spool::AcceptedMeta meta;
  meta.peer = commit.peer->name;
  meta.parcel_id = opened.id;
  meta.digest = opened.digest;
  meta.fingerprint = opened.fingerprint;
  if (opened.manifest) {
    meta.created = opened.manifest->created;
    meta.receipt =
        static_cast<unsigned>(receipt_wanted(*commit.config, *commit.peer, *opened.manifest));
  }
  meta.expires = opened.expires;
  meta.accepted = commit.now;
  meta.peer_host = commit.peer->host;
  meta.queue_id = printable(commit.queue_id, 100);
  meta.annotate = commit.peer->annotate ? printable(opened.mic_check, 200) : "";
  for (const WrittenMessage& written : writer_->messages()) {
    TRY_ASSIGN(
        const mail::Envelope envelope,
        read_envelope(spool_->ops(), *writer_->file(), written, commit.config->max_recipients));
    spool::AcceptedMessage message;
    message.text_digest = written.text_digest;
    message.text_bytes = written.text_bytes;
    message.item_bytes = written.item_bytes;
    message.head_digest = written.head_digest;
    message.refused =
        authorise(*commit.config, *commit.peer, envelope, written.received, commit.route);
    for (const auto& refusal : message.refused) {
      refused_ += refusal.recipient == 0 ? envelope.recipients.size() : 1;
    }
    meta.messages.push_back(std::move(message));
  }
  return meta;
}

// nullopt: no parcel of that name there.
Result<std::optional<CommitOutcome>> Acceptance::known(const std::string& directory,
                                                       const std::string& digest) const {
  const std::string file = str_cat({directory, "/", spool::kAcceptedMetaName});
  auto text = os::read_file(spool_->ops(), file, kMaxMeta);
  if (!text.is_ok()) {
    if (text.status().error_number() == ENOENT) {
      return std::optional<CommitOutcome>();
    }
    return text.status();
  }
  TRY_ASSIGN(const auto meta, spool::parse_accepted_meta(*text, file));
  return std::optional(meta.digest == digest ? CommitOutcome::kDuplicate
                                             : CommitOutcome::kConflict);
}

Status Acceptance::write_durably(const std::string& meta) {
  os::FileOps& ops = spool_->ops();
  TRY_ASSIGN(os::File file, ops.open(str_cat({directory_, "/", spool::kAcceptedMetaName}),
                                     os::kCreateNew, spool::kFileMode));
  TRY(ops.write(file, meta));
  // Both are written before the first sync, so that its commit of the journal serves both.
  ops.start_writeback(file, 0, meta.size());
  TRY(ops.fsync(*writer_->file()));
  TRY(ops.fsync(file));
  TRY(ops.close(file));
  return ops.fsync_dir(directory_);
}

Result<CommitOutcome> Acceptance::commit(const Commit& commit) {
  os::FileOps& ops = spool_->ops();
  const spool::Paths& paths = spool_->paths();
  const std::string name = spool::accepted_directory_name(commit.peer->name, commit.opened->id);
  const std::string deferred = str_cat({paths.deferred(), "/", name});
  TRY_ASSIGN(const auto waiting, known(deferred, commit.opened->digest));
  if (waiting) {
    return *waiting;
  }
  TRY(writer_->finish());
  TRY_ASSIGN(const spool::AcceptedMeta meta, make_meta(commit));
  TRY_ASSIGN(const std::string text, spool::format_accepted_meta(meta));
  TRY(write_durably(text));
  if (commit.before_rename) {
    TRY(commit.before_rename());
  }
  const std::string target = str_cat({paths.accepted(), "/", name});
  const Status renamed = ops.rename_noreplace(directory_, target);
  if (renamed.is_ok()) {
    directory_.clear();
    TRY(ops.fsync_dir(paths.accepted()));
    return CommitOutcome::kAccepted;
  }
  if (renamed.error_number() != EEXIST && renamed.error_number() != ENOTEMPTY) {
    return renamed;
  }
  // The other copy's process may have died between its rename and its fsync: "there already" is
  // only true once the name is durable.
  TRY(ops.fsync_dir(paths.accepted()));
  TRY_ASSIGN(const auto there, known(target, commit.opened->digest));
  if (!there) {
    return Status::temporary("4.3.0", name + " vanished while it was looked at; try again");
  }
  return *there;
}

}  // namespace bsmtp::mda
