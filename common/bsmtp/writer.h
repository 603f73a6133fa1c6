// Writes an application/batch-SMTP object (RFC 2442): EHLO, items, QUIT, all CRLF. Items are
// complete transactions already (common/mail/transaction.h) and pass through at memory speed,
// but each is proved on the way: its head is parsed and checked against the agreement, its text
// must end exactly where its file ends. So no damaged item can break out of its place.
// Streams: memory does not depend on item sizes. Threads: one writer, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/bsmtp/extensions.h"
#include "common/mail/line.h"
#include "common/mail/transaction.h"

namespace bsmtp::batch {

struct ItemInfo {
  mail::Envelope envelope;
  mail::TextFacts text;
  std::uint64_t octets = 0;       // of the whole item
  std::uint64_t text_octets = 0;  // of its text, dot-stuffed, without the end dot's line
};
// Reads an item to its end without writing anything: for `required-extensions`, which stands
// before the batch, and to set a bad item aside before a parcel is begun. Errors: as
// Writer::add_item.
Result<ItemInfo> inspect_item(Source& item);

// Opens an item anew each time it is called.
using OpenItem = std::function<Result<std::unique_ptr<Source>>()>;

class Writer {
 public:
  struct Options {
    std::string host;  // this gateway, for EHLO
    Agreement agreement;
    // Of one transaction written by add_item(OpenItem): what every processor must take
    // (RFC 5321 4.5.3.1.8), since a batch cannot see a 452.
    std::size_t max_recipients = 100;
  };
  // `out` must outlive the writer; it is not finished by it.
  Writer(Sink& out, Options options);
  // EHLO. Called once, first. Permanent 5.5.4 when `host` is no domain name.
  Status begin();
  // Copies one transaction from `item` (read to its end). Permanent 5.6.0/5.6.1: damaged item,
  // 5.6.7/5.5.4: not agreed with this peer. After a failure the object is not usable any more
  // (octets of the item may have gone out): find bad items with inspect_item() first.
  Result<ItemInfo> add_item(Source& item);
  // The same, and an item with more than max_recipients becomes several transactions with the
  // same text. The info's octets count all of them.
  Result<ItemInfo> add_item(const OpenItem& open);
  // QUIT.
  Status finish();

  std::size_t messages() const { return messages_; }
  std::uint64_t octets() const { return out_.count(); }
  const Requirements& requirements() const { return requirements_; }

 private:
  Result<ItemInfo> copy_item(Source& item, std::size_t first, std::size_t count);

  CountingSink out_;
  Options options_;
  Requirements requirements_;
  std::size_t messages_ = 0;
};

}  // namespace bsmtp::batch
