#include "common/bsmtp/writer.h"

#include "common/base/text.h"
#include "common/mail/address.h"

namespace bsmtp::batch {

Result<ItemInfo> inspect_item(Source& item) {
  TRY_ASSIGN(mail::TransactionHead head, mail::read_transaction_head(item));
  ItemInfo info;
  info.envelope = std::move(head.envelope);
  CountingSink counter(nullptr);
  TRY_ASSIGN(info.text, mail::copy_transaction_text(head, item, counter));
  info.octets = head.text_offset + counter.count() + 3;  // the end dot's line
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
  TRY_ASSIGN(mail::TransactionHead head, mail::read_transaction_head(item));
  TRY(requirements_.add(head.envelope, options_.agreement));
  ItemInfo info;
  info.envelope = std::move(head.envelope);
  const std::uint64_t before = out_.count();
  // Written anew from what was understood: no octet of the head passes unread.
  TRY_ASSIGN(const std::string text, mail::format_transaction_head(info.envelope));
  TRY(out_.write(text));
  TRY_ASSIGN(info.text, mail::copy_transaction_text(head, item, out_));
  TRY(out_.write(".\r\n"));
  info.octets = out_.count() - before;
  ++messages_;
  return info;
}

Status Writer::finish() {
  return out_.write("QUIT\r\n");
}

}  // namespace bsmtp::batch
