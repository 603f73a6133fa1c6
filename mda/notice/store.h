// NoticeStore: DSNs and letters as durable items in notices/ready/, named by an id made from what
// they are about. Writing the same notice twice is one notice; one that was sent already is not
// written again (the ledger remembers). A caller writes the notice *before* the state change
// that demands it and repeats both after a crash: nobody is told twice, nobody is forgotten.
// Failure: temporary, naming the file. Threads: safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/spool/item.h"
#include "common/spool/spool.h"
#include "mda/notice/dsn.h"
#include "mda/notice/dsn_limit.h"

namespace bsmtp::mda {

// First 44 hex digits of SHA-256 over the parts, NUL-separated: a name that ids accept.
std::string notice_id(const std::vector<std::string_view>& parts);

// `postmaster`, with this host where it has none.
std::string postmaster_address(const config::Config& config);

class NoticeStore {
 public:
  // `journal` may be null (ledger not usable): then "sent already" is not known.
  NoticeStore(const spool::Spool& spool, ledger::Journal* journal)
      : spool_(spool), journal_(journal), limit_(spool) {}
  // The ledger could be opened later.
  void use_journal(ledger::Journal* journal) { journal_ = journal; }

  // `about` and `kind` are for the log.
  Status put(const std::string& id, const mail::Envelope& envelope, std::string_view text,
             std::string_view kind, std::string_view about);
  // It waits, or was sent and the ledger remembers.
  Result<bool> is_known(const std::string& id) const;
  DsnLimit& limit() { return limit_; }
  const spool::Spool& spool() const { return spool_; }
  // Ids waiting, in name order.
  Result<std::vector<std::string>> waiting() const;
  std::string path(std::string_view id) const;
  // What the ledger knows of a notice that is about to be handed over. kSend and kSendAgain note
  // the attempt, before the first octet leaves.
  enum class Start {
    kSend,
    kSendAgain,  // an earlier attempt's end was never noted: it may have been taken
    kSent,       // only its file is left
  };
  Result<Start> begin(const std::string& id, TimePoint now);
  // The attempt surely failed.
  Status not_sent(const std::string& id);
  // The host MTA refused it for good: kept for a human, for keep-sent, before it is done(). Returns
  // its place.
  Result<std::string> keep_refused(const std::string& id);
  // The host MTA has taken it (or it is given up): remembered, then removed.
  Status done(const std::string& id, TimePoint retain_until);

 private:
  const spool::Spool& spool_;
  std::atomic<ledger::Journal*> journal_;
  DsnLimit limit_;
};

// A message whose recipients got a verdict, as the dispatcher and the deliverer meet it.
struct NoticeSubject {
  const config::Config& config;
  NoticeStore& store;
  std::string parcel_id;
  std::string message;  // item id or index: together with parcel_id names the message
  std::string peer;     // for the log and the postmaster's letter
  TimePoint arrival;
  TimePoint now;
  // It came out of the peer's parcel: dsn-for and dsn-limit hold.
  bool unpacked = false;
  // For a delay: until when it is tried; nullopt: delivery-expire after its arrival.
  std::optional<TimePoint> retry_until = std::nullopt;
};

// The id of the DSN that write_dsn() makes for them.
std::string dsn_id(const NoticeSubject& subject, NoticeKind kind,
                   const std::vector<DsnRecipient>& recipients);

// The message that a DSN is about, as far as it comes back in it.
struct Original {
  std::unique_ptr<Source> text;  // unstuffed; null: it cannot be read
  std::uint64_t octets = 0;
  // Not as it was accepted: at most its header comes back, and that only if mail can carry it.
  bool damaged = false;
};

// Something that cannot be read is set aside in held/ of `peer`, and nobody knows its sender: a
// line for the postmaster's digest, so that no number of such makes more than a letter an hour.
// Done first, then the move: repeated after a crash, the line stands twice.
Status tell_of_unreadable(NoticeStore& store, const std::string& peer, std::string_view what,
                          const Status& why, TimePoint now);

// Writes what the recipients' NOTIFY asks for: one DSN for all of `recipients` under an id made
// from parcel, message, their addresses and the kind. A null sender gets nothing, nor does one that
// is the tunnel's own (gateway_address.h): a failure is then told to the postmaster, at most one
// letter an hour and peer. What dsn-for or dsn-limit withhold goes into the postmaster's digest
// when it is a failure; other kinds are left out.
Status write_dsn(const NoticeSubject& subject, NoticeKind kind, const mail::Envelope& envelope,
                 const Original& original, const std::vector<DsnRecipient>& recipients);
Status write_dsn(const NoticeSubject& subject, NoticeKind kind, const spool::ItemReader& item,
                 std::uint64_t text_bytes, const std::vector<DsnRecipient>& recipients);

}  // namespace bsmtp::mda
