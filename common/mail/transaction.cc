#include "common/mail/transaction.h"

#include <array>

#include "common/base/text.h"

namespace bsmtp::mail {
namespace {

Status damaged(std::string_view what) {
  return Status::permanent("5.6.0", str_cat({"damaged BSMTP transaction: ", what}));
}

constexpr std::string_view kMail = "MAIL FROM:";
constexpr std::string_view kRcpt = "RCPT TO:";

}  // namespace

Result<std::string> format_transaction_head(const Envelope& envelope) {
  if (envelope.recipients.empty()) {
    return Status::permanent("5.5.1", "a message without recipients");
  }
  TRY_ASSIGN(std::string head, format_mail(envelope));
  head += "\r\n";
  for (const Recipient& recipient : envelope.recipients) {
    TRY_ASSIGN(const std::string line, format_rcpt(recipient));
    head += line;
    head += "\r\n";
  }
  head += "DATA\r\n";
  return head;
}

Result<TransactionHead> read_transaction_head(Source& source, std::size_t max_recipients) {
  LineReader reader(source, kMaxCommandLine, true);
  const auto next = [&](std::string_view& line) -> Status {
    const auto got = reader.next(line);
    if (!got.is_ok()) {
      return got.status().is_permanent() ? damaged(got.status().text()) : got.status();
    }
    return *got && reader.terminated() ? Status::ok() : damaged("it ends before its text");
  };
  TransactionHead head;
  std::string_view line;
  TRY(next(line));
  if (!istarts_with(line, kMail)) return damaged("MAIL FROM: expected");
  auto envelope = parse_mail(line.substr(kMail.size()));
  if (!envelope.is_ok()) return damaged(envelope.status().text());
  head.envelope = std::move(envelope).value();
  for (;;) {
    TRY(next(line));
    if (!istarts_with(line, kRcpt)) break;
    auto recipient = parse_rcpt(line.substr(kRcpt.size()));
    if (!recipient.is_ok()) return damaged(recipient.status().text());
    if (head.envelope.recipients.size() == max_recipients) return damaged("too many recipients");
    head.envelope.recipients.push_back(std::move(recipient).value());
  }
  if (head.envelope.recipients.empty() || !iequals(line, "DATA")) {
    return damaged("RCPT TO: or DATA expected");
  }
  head.text_offset = reader.offset();
  head.buffered = reader.buffered();
  return head;
}

Result<TextFacts> copy_transaction_text(TransactionHead& head, Source& source, Sink& out) {
  TextEndScanner scanner;
  std::array<char, kBlockSize> block;  // NOLINT: filled by read before use
  std::string first = std::move(head.buffered);
  std::string_view data = first;
  for (;;) {
    if (!data.empty()) {
      if (scanner.done()) return damaged("octets behind its end");
      TRY_ASSIGN(const std::size_t n, scanner.feed(data, out));
      TRY(scanner.violation());
      data.remove_prefix(n);
      continue;
    }
    TRY_ASSIGN(const std::size_t got, source.read(block));
    if (got == 0) break;
    data = std::string_view(block.data(), got);
  }
  if (!scanner.done()) return damaged("it ends without its end dot");
  return scanner.facts();
}

}  // namespace bsmtp::mail
