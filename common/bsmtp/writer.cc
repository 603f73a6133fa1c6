#include "common/bsmtp/writer.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::batch {

Result<ItemInfo> inspect_item(Source& item) {
  TRY_ASSIGN(mail::TransactionHead head, mail::read_transaction_head(item));
  ItemInfo info;
  info.envelope = std::move(head.envelope);
  CountingSink counter(nullptr);
  TRY_ASSIGN(info.text, mail::copy_transaction_text(head, item, counter));
  info.text_octets = counter.count();
  info.octets = head.text_offset + info.text_octets + 3;  // the end dot's line
  return info;
}

Writer::Writer(Sink& out, Options options) : out_(&out), options_(std::move(options)) {}

Status Writer::begin() {
  if (!mail::is_domain(options_.host) && !mail::is_domain_literal(options_.host)) {
    return Status::permanent(
        "5.5.4", str_cat({"host \"", printable(options_.host, 255), "\" cannot be named in EHLO"}));
  }
  return out_.write(str_cat({"EHLO ", options_.host, "\r\n"}));
}

Result<ItemInfo> Writer::add_item(Source& item) {
  return copy_item(item, 0, std::numeric_limits<std::size_t>::max());
}

Result<ItemInfo> Writer::add_item(const OpenItem& open) {
  std::size_t first = 0;
  std::uint64_t octets = 0;
  for (;;) {
    TRY_ASSIGN(const std::unique_ptr<Source> item, open());
    TRY_ASSIGN(ItemInfo info, copy_item(*item, first, options_.max_recipients));
    octets += info.octets;
    first += options_.max_recipients;
    if (first >= info.envelope.recipients.size()) {
      info.octets = octets;
      return info;
    }
  }
}

// One transaction for `count` recipients of the item, counted from `first`.
Result<ItemInfo> Writer::copy_item(Source& item, std::size_t first, std::size_t count) {
  TRY_ASSIGN(mail::TransactionHead head, mail::read_transaction_head(item));
  TRY(requirements_.add(head.envelope, options_.agreement));
  ItemInfo info;
  info.envelope = std::move(head.envelope);
  mail::Envelope written = info.envelope;
  std::vector<mail::Recipient>& all = written.recipients;
  const std::size_t begin = std::min(first, all.size());
  const std::size_t end = begin + std::min(count, all.size() - begin);
  all.erase(all.begin() + static_cast<std::ptrdiff_t>(end), all.end());
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(begin));
  const std::uint64_t before = out_.count();
  // Written anew from what was understood: no octet of the head passes unread.
  TRY_ASSIGN(const std::string text, mail::format_transaction_head(written));
  TRY(out_.write(text));
  TRY_ASSIGN(info.text, mail::copy_transaction_text(head, item, out_));
  info.text_octets = out_.count() - before - text.size();
  TRY(out_.write(".\r\n"));
  info.octets = out_.count() - before;
  ++messages_;
  return info;
}

Status Writer::finish() {
  return out_.write("QUIT\r\n");
}

}  // namespace bsmtp::batch
