#include "mda/receive/message_writer.h"

#include "common/base/text.h"
#include "common/mail/line.h"
#include "common/mail/transaction.h"
#include "common/spool/accepted.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {
namespace {

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
  Open(os::FileOps& ops, os::File opened)
      : file(std::move(opened)), sink(ops, file), scanner(scanner_options()) {}

  os::File file;
  os::FileSink sink;
  mail::HeaderScanner scanner;
  digest::Sha256Sink digest{nullptr};
  mail::Unstuffer plain{digest};
};

MessageWriter::MessageWriter(os::FileOps& ops, std::string directory)
    : ops_(ops), directory_(std::move(directory)) {}

MessageWriter::~MessageWriter() = default;

std::string MessageWriter::message_path(std::uint64_t number) const {
  return str_cat({directory_, "/", spool::accepted_message_name(number)});
}

Status MessageWriter::begin_message(const mail::Envelope& envelope, std::size_t /*index*/) {
  open_.reset();
  if (envelope.recipients.empty()) {
    return Status::ok();
  }
  TRY_ASSIGN(const std::string head, mail::format_transaction_head(envelope));
  TRY_ASSIGN(os::File file,
             ops_.open(message_path(messages_.size() + 1), os::kCreateNew, spool::kFileMode));
  open_ = std::make_unique<Open>(ops_, std::move(file));
  return open_->sink.write(head);
}

Status MessageWriter::text(std::string_view stuffed) {
  if (!open_) {
    return Status::ok();
  }
  TRY(open_->scanner.write(stuffed));
  TRY(open_->plain.write(stuffed));
  return open_->sink.write(stuffed);
}

Status MessageWriter::end_message(const mail::TextFacts& facts) {
  if (!open_) {
    return Status::ok();
  }
  TRY(open_->scanner.finish());
  TRY(open_->sink.write(".\r\n"));
  TRY(open_->sink.finish());
  TRY(ops_.close(open_->file));
  messages_.push_back({open_->digest.hex(), facts.octets, open_->scanner.received()});
  open_.reset();
  return Status::ok();
}

}  // namespace bsmtp::mda
