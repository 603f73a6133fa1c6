#include "mda/receive/message_writer.h"

#include "common/base/text.h"
#include "common/mail/line.h"
#include "common/mail/transaction.h"
#include "common/spool/accepted.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {
namespace {

constexpr int kCreateReadable = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;

// Only counts Received fields: a header over the limits is the recipient's business, not ours.
mail::HeaderScanner::Options scanner_options() {
  mail::HeaderScanner::Options options;
  options.limits = {1U << 20U, 10000};
  options.strict = false;
  options.stuffed = true;
  options.keep = {"-none-"};
  return options;
}

}  // namespace

struct MessageWriter::Open {
  std::uint64_t offset = 0;
  std::string head_digest;
  mail::HeaderScanner scanner{scanner_options()};
  digest::Sha256Sink digest{nullptr};
  mail::Unstuffer plain{digest};
};

MessageWriter::MessageWriter(os::FileOps& ops, std::string directory)
    : ops_(ops), directory_(std::move(directory)) {}

MessageWriter::~MessageWriter() = default;

Status MessageWriter::make_file() {
  if (file_) {
    return Status::ok();
  }
  const std::string path = str_cat({directory_, "/", spool::kAcceptedMessagesName});
  TRY_ASSIGN(os::File file, ops_.open(path, kCreateReadable, spool::kFileMode));
  file_ = std::make_shared<os::File>(std::move(file));
  sink_ = std::make_unique<os::FileSink>(ops_, *file_, os::FileSink::Writeback::kEarly);
  return Status::ok();
}

Status MessageWriter::begin_message(const mail::Envelope& envelope, std::size_t /*index*/) {
  open_.reset();
  if (envelope.recipients.empty()) {
    return Status::ok();
  }
  TRY_ASSIGN(const std::string head, mail::format_transaction_head(envelope));
  TRY(make_file());
  open_ = std::make_unique<Open>();
  open_->offset = sink_->count();
  open_->head_digest = digest::sha256_hex(head);
  return sink_->write(head);
}

Status MessageWriter::text(std::string_view stuffed) {
  if (!open_) {
    return Status::ok();
  }
  TRY(open_->scanner.write(stuffed));
  TRY(open_->plain.write(stuffed));
  return sink_->write(stuffed);
}

Status MessageWriter::end_message(const mail::TextFacts& facts) {
  if (!open_) {
    return Status::ok();
  }
  TRY(open_->scanner.finish());
  TRY(sink_->write(".\r\n"));
  messages_.push_back({open_->digest.hex(), open_->head_digest, facts.octets,
                       open_->scanner.received(), open_->offset, sink_->count() - open_->offset});
  open_.reset();
  return Status::ok();
}

Status MessageWriter::finish() {
  TRY(make_file());
  return sink_->finish();
}

}  // namespace bsmtp::mda
