// Items: one complete BSMTP transaction each,
//   MAIL FROM:<..> params CRLF (RCPT TO:<..> params CRLF)+ DATA CRLF stuffed-CRLF-text . CRLF
// as a file of its own in peers/<p>/incoming, parcel directories and notices/ready, and one after
// another in the one file of an accepted parcel.
// ItemWriter makes one durably; ItemReader takes one apart again without copying its text.
// Guarantees: what is committed is whole and survives a power loss; what is not committed leaves
// nothing behind but (after a crash) a file in tmp/ that the sweep removes.
// Memory: fixed, whatever the message size. Threads: one object, one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/stream.h"
#include "common/mail/envelope.h"
#include "common/os/file_ops.h"
#include "common/spool/text_filter.h"

namespace bsmtp::spool {

class ItemWriter final : public Sink {
 public:
  struct Options {
    std::string tmp_path;      // created, must not exist; same file system as final_path
    std::string final_path;    // where commit() moves it
    std::string final_dir;     // fsynced by commit(); "" = the caller syncs it (several at once)
    TextFilter::Options text;  // what to refuse
  };

  // Creates the file and takes the envelope. Permanent 5.1.3 / 5.1.7 / 5.5.4 for an envelope
  // that cannot be written safely (mail::format_mail), temporary for trouble with the file.
  static Result<ItemWriter> create(os::FileOps& ops, const mail::Envelope& envelope,
                                   Options options);
  ItemWriter(ItemWriter&& other) noexcept;
  ItemWriter& operator=(ItemWriter&&) = delete;
  ItemWriter(const ItemWriter&) = delete;
  ItemWriter& operator=(const ItemWriter&) = delete;
  ~ItemWriter() override;  // uncommitted: closes and unlinks

  // Message text, LF or CRLF. Permanent 5.6.1 (NUL, bare CR, mixed line ends) or 5.4.6 (hops):
  // then nothing may follow but the destructor.
  Status write(std::string_view data) override;
  // write end mark, fsync, close. After a failure: only the destructor.
  Status finish() override;
  // finish() when not done, `before_rename` (parent check; its failure rolls back), rename, fsync
  // of final_dir. When the last fsync fails the item is taken back if it is still there.
  Status commit(const std::function<Status()>& before_rename = {});

  const TextFilter& text() const { return *filter_; }
  std::uint64_t file_size() const { return file_size_; }

 private:
  class Output;
  ItemWriter(os::FileOps& ops, Options options);

  os::FileOps& ops_;
  Options options_;
  std::unique_ptr<Output> output_;
  std::unique_ptr<TextFilter> filter_;
  std::uint64_t file_size_ = 0;
  bool exists_ = false;  // tmp file is there and ours
  bool finished_ = false;
};

class ItemReader {
 public:
  struct Limits {
    std::size_t max_recipients = 10000;
  };

  // Parses the envelope and checks the end mark. Permanent 5.6.0 for a file that is no item (the
  // caller holds it, nobody resends it), temporary for trouble with the file.
  static Result<ItemReader> open(os::FileOps& ops, const std::string& path, const Limits& limits);
  static Result<ItemReader> open(os::FileOps& ops, const std::string& path) {
    return open(ops, path, Limits());
  }

  // The item in `length` octets from `offset` of a file that several readers may share. A file
  // that ends before is temporary 4.3.0.
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  static Result<ItemReader> open(os::FileOps& ops, std::shared_ptr<const os::File> file,
                                 const Range& range, const Limits& limits);

  const mail::Envelope& envelope() const { return envelope_; }
  const std::string& path() const { return file_->path(); }
  std::uint64_t item_size() const { return range_.length; }
  // Stuffed text with CRLF line ends, without the end mark: what follows DATA on the wire.
  std::uint64_t text_size() const { return range_.length - 3 - text_offset_; }
  std::uint64_t text_offset() const { return text_offset_; }  // in the item
  // Each call starts anew; the reader must outlive the source.
  std::unique_ptr<Source> stuffed_text() const;  // text_size() octets
  std::unique_ptr<Source> transaction() const;   // the whole item, as a batch takes it
  std::unique_ptr<Source> head() const;          // what stands before the text
  std::unique_ptr<Source> plain_text() const;    // unstuffed (CRLF): digests, DSNs, bsmtpctl show

 private:
  ItemReader(os::FileOps& ops, std::shared_ptr<const os::File> file, const Range& range)
      : ops_(&ops), file_(std::move(file)), range_(range) {}
  Status read(const Limits& limits);
  std::unique_ptr<Source> octets(std::uint64_t offset, std::uint64_t length) const;

  os::FileOps* ops_;
  std::shared_ptr<const os::File> file_;
  Range range_;
  std::unique_ptr<const std::string> whole_;  // of a small item: read once
  mail::Envelope envelope_;
  std::uint64_t text_offset_ = 0;
};

}  // namespace bsmtp::spool
