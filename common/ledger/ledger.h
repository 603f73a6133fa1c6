// Ledger: the receiver's memory of what was delivered, in one SQLite file (WAL). A commit that
// returned ok survives this process; sync() makes it survive power loss. Only bsmtp-dispatch
// writes it. It knows parcels (peer, id) with their digest, each message's recipients by a key over
// sender, recipient and text, deliveries under way, notices sent, receipts due, and tombstones.
// Guarantee: a damaged, foreign, newer or vanished ledger is an error naming the remedy, never
// silently recreated: an empty memory would deliver every repeated parcel a second time.
// Errors: temporary. Threads: one Ledger, one thread at a time (see journal.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/unique_fd.h"
#include "common/spool/receipt_record.h"

struct sqlite3;
struct sqlite3_stmt;

namespace bsmtp::ledger {

inline constexpr int kSchemaVersion = 3;  // schema.h; older ones are converted

enum class ParcelKnown {
  kNew,       // was not known; is now, as open
  kOpen,      // known with the same digest, its delivery is not finished
  kDone,      // known with the same digest and finished: a copy, to be dropped
  kConflict,  // known with another digest: alarm
  kBuried,    // has a tombstone: its sender was told that it is not delivered
};

// What became of one recipient of one message. The first three are final; the others stand until
// one of those replaces them.
enum class Outcome {
  kDelivered = 1,
  kFailed = 2,
  kDropped = 3,
  kRefused = 4,         // the one report about all that failed with it may not exist yet
  kDoubted = 5,         // not settled, but the host MTA may have it: a final reply was lost
  kRefusedInDoubt = 6,  // both
};
inline bool is_final(Outcome outcome) {
  return outcome <= Outcome::kDropped;
}

struct RecipientRecord {
  Outcome outcome = Outcome::kDelivered;
  std::string parcel_id;  // the parcel that brought it
  std::uint64_t message = 0;
  TimePoint when;
};

struct ParcelRecord {
  std::string peer;
  std::string parcel_id;
  std::string digest;
  bool done = false;
  TimePoint accepted;
  TimePoint retain_until;
};

struct LedgerCounts {
  std::uint64_t parcels = 0;
  std::uint64_t recipients = 0;
  std::uint64_t attempts = 0;
  std::uint64_t notices = 0;
  std::uint64_t receipts = 0;  // due
  std::uint64_t tombstones = 0;
};

// An answer that a peer is to get.
struct ReceiptDue {
  spool::ParcelAnswer answer;
  TimePoint due;
};

// All answers due to one peer.
struct ReceiptsWaiting {
  std::string peer;
  TimePoint oldest;  // of the due times
  std::uint64_t count = 0;
  TimePoint last_written;  // of its receipts; the epoch when there was none
};

class Ledger {
 public:
  // Opens, or on the very first use creates, `file`. Beside it stands "<file>.created": when
  // that exists and the ledger does not, it was lost and this is an error. Runs
  // PRAGMA quick_check; damage is an error.
  static Result<Ledger> open(const std::string& file);
  // For a thread of the process that writes it: leaves the check to the writer.
  static Result<Ledger> open_read_only(const std::string& file);
  // For any other process and user: reads, and makes no file beside it that the writer could not
  // use later. While nobody has it open its state is that of the last close.
  static Result<Ledger> look_at(const std::string& file);
  Ledger(Ledger&& other) noexcept;
  Ledger& operator=(Ledger&& other) noexcept;
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger();

  // All writes belong between begin() (BEGIN IMMEDIATE; waits up to 10 s for another writer)
  // and commit(). After a failure rollback() and repeat or give up.
  Status begin();
  Status commit();
  // All commits so far are on disk (one fdatasync of the log that SQLite writes ahead; after a
  // failure everything is written anew).
  Status sync();
  void rollback();
  // Several look-ups as of one moment, until commit() or rollback(); cheaper than one by one,
  // because each look-up outside is a transaction of its own.
  Status begin_read();

  // Notes the parcel unless it is known, and says which it was. `retain_until`: not forgotten
  // before; never shortened.
  Result<ParcelKnown> note_parcel(const ParcelRecord& parcel);
  Status finish_parcel(std::string_view peer, std::string_view parcel_id);
  Result<std::optional<ParcelRecord>> find_parcel(std::string_view peer,
                                                  std::string_view parcel_id);

  // `key`: SHA-256(sender NUL recipient NUL text digest), 32 raw octets. Kept per peer, so that
  // one peer cannot make us skip another's mail. A second record() of a key changes nothing once
  // the first is final.
  Result<std::optional<RecipientRecord>> find_recipient(std::string_view peer,
                                                        std::string_view key);
  Status record_recipient(std::string_view peer, std::string_view key,
                          const RecipientRecord& record, TimePoint retain_until);

  // A message whose text is about to be handed over. What is found here after a crash, or after
  // a lost final reply, may have arrived although no outcome says so.
  Status note_attempt(std::string_view peer, std::string_view parcel_id, std::uint64_t message,
                      TimePoint now);
  Status clear_attempt(std::string_view peer, std::string_view parcel_id, std::uint64_t message);
  Result<std::vector<std::uint64_t>> attempts(std::string_view peer, std::string_view parcel_id);

  // Notices (DSNs …) that the host MTA has taken, so that none is sent twice.
  Result<bool> notice_sent(std::string_view notice_id);
  Status note_notice(std::string_view notice_id, TimePoint retain_until);

  // One row for each (peer, parcel): a second one has the new answer and the earlier time.
  Status note_receipt_due(std::string_view peer, const spool::ParcelAnswer& answer, TimePoint due);
  Result<std::vector<ReceiptsWaiting>> receipts_waiting();
  // Of one peer, the earliest first.
  Result<std::vector<ReceiptDue>> receipts_due(std::string_view peer, std::uint64_t limit);
  // The receipt with these answers is durable.
  Status receipts_written(std::string_view peer, const std::vector<ReceiptDue>& receipts,
                          TimePoint now);
  // For a peer that gets no receipts any more; returns how many.
  Result<std::uint64_t> drop_receipts(std::string_view peer);

  // Tombstones: parcels about which the peer is told that they are not delivered, so never may be.
  // note_parcel() finds them. A second one changes nothing.
  Status bury(std::string_view peer, const spool::ParcelAnswer& answer, TimePoint now,
              TimePoint retain_until);
  Result<std::optional<spool::ParcelAnswer>> find_tombstone(std::string_view peer,
                                                            std::string_view parcel_id);
  // How many each peer has; those without any are not named.
  Result<std::map<std::string, std::uint64_t>> tombstones();

  // Forgets finished parcels, recipients, notices and tombstones past their time, at most `limit`
  // of each; returns how many rows left.
  Result<std::uint64_t> expire(TimePoint now, std::uint64_t limit);
  Result<LedgerCounts> counts();
  // PRAGMA integrity_check, for `bsmtpctl ledger check`: long on a big ledger.
  Status check();
  const std::string& file() const { return file_; }

 private:
  struct StatementCloser {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, StatementCloser>;
  class Query;
  enum Sql : std::size_t {
    kBegin,
    kBeginRead,
    kCommit,
    kInsertParcel,
    kFindParcel,
    kExtendParcel,
    kFinishParcel,
    kFindRecipient,
    kInsertRecipient,
    kInsertAttempt,
    kDeleteAttempt,
    kListAttempts,
    kFindNotice,
    kInsertNotice,
    kExpireParcels,
    kExpireRecipients,
    kExpireNotices,
    kInsertReceipt,
    kListReceiptPeers,
    kListReceipts,
    kDeleteReceipt,
    kDeleteReceipts,
    kInsertReceiptTime,
    kInsertTombstone,
    kFindTombstone,
    kCountTombstones,
    kExpireTombstones,
    kCounts,
    kSqlCount
  };

  explicit Ledger(std::string file) : file_(std::move(file)) {}
  enum class Access { kRead, kWrite };
  Status open_database(const std::string& name, Access access);
  Status check_schema(bool read_only);
  Status choose_journal();
  Status checkpoint();
  Status set_schema(int from);
  Status quick_check(const char* pragma);
  Status execute(const char* sql);
  Result<int> pragma_number(const char* sql);
  Status prepare();
  Status run(Sql sql);
  Status error(std::string_view doing) const;
  void close();

  std::string file_;
  sqlite3* db_ = nullptr;
  std::vector<Statement> statements_;
  UniqueFd wal_;                  // for sync()
  bool synced_by_sqlite_ = true;  // each commit
  bool sync_failed_ = false;
  bool in_transaction_ = false;
  bool may_create_ = false;
};

}  // namespace bsmtp::ledger
