#include "common/spool/item.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/mail/line.h"
#include "common/os/fd_stream.h"
#include "common/spool/spool.h"

namespace bsmtp::spool {
namespace {

constexpr std::string_view kMail = "MAIL FROM:";
constexpr std::string_view kRcpt = "RCPT TO:";
constexpr std::string_view kData = "DATA";
constexpr std::string_view kCrLf = "\r\n";
constexpr std::string_view kEndMark = ".\r\n";
// An item of at most so many octets is read at once and kept while its reader lives.
constexpr std::uint64_t kKeptItem = 16384;

// Removes the dot that every stuffed line starts with. Sees only CRLF text.
class UnstuffSource final : public Source {
 public:
  explicit UnstuffSource(std::unique_ptr<Source> from) : from_(std::move(from)) {}

  Result<std::size_t> read(std::span<char> out) override {
    for (;;) {
      TRY_ASSIGN(const std::size_t n, from_->read(out));
      std::size_t kept = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const bool stuffing = line_start_ && out[i] == '.';
        line_start_ = out[i] == '\n';
        if (!stuffing) {
          out[kept++] = out[i];
        }
      }
      if (kept > 0 || n == 0) {
        return kept;
      }
    }
  }

 private:
  std::unique_ptr<Source> from_;
  bool line_start_ = true;
};

// The next command line. Permanent when there is none, or it is too long or not ended by CRLF.
Result<std::string_view> next_command(mail::LineReader& lines) {
  std::string_view line;
  TRY_ASSIGN(const bool more, lines.next(line));
  if (!more || !lines.terminated()) {
    return Status::permanent("5.6.0", "ends before its DATA command");
  }
  return line;
}

Status parse_envelope(mail::LineReader& lines, std::size_t max_recipients, mail::Envelope& out) {
  TRY_ASSIGN(const std::string_view first, next_command(lines));
  if (!istarts_with(first, kMail)) {
    return Status::permanent("5.6.0", "does not begin with MAIL FROM:");
  }
  TRY_ASSIGN(out, mail::parse_mail(first.substr(kMail.size())));
  for (;;) {
    TRY_ASSIGN(const std::string_view line, next_command(lines));
    if (iequals(line, kData)) {
      return out.recipients.empty() ? Status::permanent("5.6.0", "has no recipient") : Status::ok();
    }
    if (!istarts_with(line, kRcpt)) {
      return Status::permanent("5.6.0", "has an unknown command before DATA");
    }
    if (out.recipients.size() >= max_recipients) {
      return Status::permanent("5.6.0", "has too many recipients");
    }
    TRY_ASSIGN(mail::Recipient recipient, mail::parse_rcpt(line.substr(kRcpt.size())));
    out.recipients.push_back(std::move(recipient));
  }
}

// Everything before the message text.
Result<std::string> format_commands(const mail::Envelope& envelope) {
  if (envelope.recipients.empty()) {
    return Status::temporary("4.3.5", "a message without recipients cannot be queued");
  }
  TRY_ASSIGN(std::string out, mail::format_mail(envelope));
  out += kCrLf;
  for (const auto& recipient : envelope.recipients) {
    TRY_ASSIGN(const std::string line, mail::format_rcpt(recipient));
    out += line;
    out += kCrLf;
  }
  out += kData;
  out += kCrLf;
  return out;
}

}  // namespace

// File and sink in one place on the heap: the sink refers to the file while the writer moves.
class ItemWriter::Output {
 public:
  Output(os::FileOps& ops, os::File opened)
      : file(std::move(opened)), sink(ops, file, os::FileSink::Writeback::kEarly) {}
  os::File file;
  os::FileSink sink;
};

ItemWriter::ItemWriter(os::FileOps& ops, Options options)
    : ops_(ops), options_(std::move(options)) {}

ItemWriter::ItemWriter(ItemWriter&& other) noexcept
    : ops_(other.ops_),
      options_(std::move(other.options_)),
      output_(std::move(other.output_)),
      filter_(std::move(other.filter_)),
      file_size_(other.file_size_),
      exists_(std::exchange(other.exists_, false)),
      finished_(other.finished_) {}

ItemWriter::~ItemWriter() {
  if (exists_) {
    static_cast<void>(os::remove_if_exists(ops_, options_.tmp_path));
  }
}

Result<ItemWriter> ItemWriter::create(os::FileOps& ops, const mail::Envelope& envelope,
                                      Options options) {
  TRY_ASSIGN(const std::string commands, format_commands(envelope));
  ItemWriter writer(ops, std::move(options));
  TRY_ASSIGN(os::File file, ops.open(writer.options_.tmp_path, os::kCreateNew, kFileMode));
  writer.exists_ = true;
  writer.output_ = std::make_unique<Output>(ops, std::move(file));
  writer.filter_ = std::make_unique<TextFilter>(writer.output_->sink, writer.options_.text);
  TRY(writer.filter_->lead(commands));
  return writer;
}

Status ItemWriter::write(std::string_view data) {
  return filter_->write(data);
}

Status ItemWriter::finish() {
  BSMTP_CHECK(!finished_);
  finished_ = true;
  os::FileSink& sink = output_->sink;
  TRY(filter_->finish());
  TRY(sink.finish());
  TRY(ops_.fsync(output_->file));
  file_size_ = sink.count();
  return ops_.close(output_->file);
}

Status ItemWriter::commit(const std::function<Status()>& before_rename) {
  if (!finished_) {
    TRY(finish());
  }
  if (before_rename) {
    TRY(before_rename());
  }
  TRY(ops_.rename(options_.tmp_path, options_.final_path));
  exists_ = false;
  if (options_.final_dir.empty()) {
    return Status::ok();
  }
  Status synced = ops_.fsync_dir(options_.final_dir);
  if (!synced.is_ok()) {
    // The caller will say "not taken": what is not yet claimed must not be sent either.
    static_cast<void>(os::remove_if_exists(ops_, options_.final_path));
  }
  return synced;
}

Result<ItemReader> ItemReader::open(os::FileOps& ops, const std::string& path,
                                    const Limits& limits) {
  const auto no_item = [&](const char* what) {
    return Status::permanent("5.6.0", str_cat({path, ": is ", what, " and no message"}));
  };
  auto file = ops.open(path, os::kReadOnly, 0);
  if (file.status().error_number() == ELOOP) {
    return no_item("a symbolic link");
  }
  if (!file.is_ok()) {
    return file.status();
  }
  TRY_ASSIGN(const os::FileInfo info, ops.stat(*file));
  if (info.is_directory) {
    return no_item("a directory");
  }
  ItemReader reader(ops, std::make_shared<os::File>(std::move(file).value()), {0, info.size});
  TRY(reader.read(limits));
  return reader;
}

Result<ItemReader> ItemReader::open(os::FileOps& ops, std::shared_ptr<const os::File> file,
                                    const Range& range, const Limits& limits) {
  ItemReader reader(ops, std::move(file), range);
  TRY(reader.read(limits));
  return reader;
}

Status ItemReader::read(const Limits& limits) {
  const auto broken = [&](std::string_view why) {
    const std::string where =
        range_.offset == 0 ? "" : str_cat({", octet ", std::to_string(range_.offset)});
    return Status::permanent("5.6.0", str_cat({file_->path(), where, ": ", why}));
  };
  if (range_.length <= kKeptItem) {
    auto whole = std::make_unique<std::string>(range_.length, '\0');
    os::RangeSource range(*ops_, *file_, range_.offset, range_.length);
    for (std::size_t got = 0; got < whole->size();) {
      TRY_ASSIGN(const std::size_t n, range.read(std::span<char>(*whole).subspan(got)));
      got += n;
    }
    whole_ = std::move(whole);
  }
  const auto source = octets(0, range_.length);
  mail::LineReader lines(*source, mail::kMaxCommandLine, true);
  const Status parsed = parse_envelope(lines, limits.max_recipients, envelope_);
  if (!parsed.is_ok()) {
    return parsed.is_permanent() ? broken(parsed.text()) : parsed;
  }
  text_offset_ = lines.offset();
  if (range_.length < text_offset_ + kEndMark.size()) {
    return broken("has no end mark");
  }
  const std::string_view end = "\r\n.\r\n";
  StringSink tail(end.size());
  TRY(copy(*octets(range_.length - end.size(), end.size()), tail).status());
  return tail.str() == end ? Status::ok() : broken("does not end in CRLF.CRLF");
}

std::unique_ptr<Source> ItemReader::octets(std::uint64_t offset, std::uint64_t length) const {
  if (whole_) {
    return std::make_unique<StringSource>(std::string_view(*whole_).substr(offset, length));
  }
  return std::make_unique<os::RangeSource>(*ops_, *file_, range_.offset + offset, length);
}

std::unique_ptr<Source> ItemReader::stuffed_text() const {
  return octets(text_offset_, text_size());
}

std::unique_ptr<Source> ItemReader::transaction() const {
  return octets(0, range_.length);
}

std::unique_ptr<Source> ItemReader::head() const {
  return octets(0, text_offset_);
}

std::unique_ptr<Source> ItemReader::plain_text() const {
  return std::make_unique<UnstuffSource>(stuffed_text());
}

}  // namespace bsmtp::spool
