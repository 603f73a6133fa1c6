// See ledger.h. The only user of sqlite3.h. Statements are prepared once; times are stored as
// whole seconds since 1970.
#include "common/ledger/ledger.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/unique_fd.h"

namespace bsmtp::ledger {
namespace {

// "bsmt": a database of another program is never taken for a ledger.
constexpr int kApplicationId = 0x62736d74;
constexpr int kBusyMilliseconds = 10000;

constexpr const char* kSchema = R"(
CREATE TABLE parcel (
  peer TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, accepted INTEGER NOT NULL,
  retain_until INTEGER NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (peer, id)) WITHOUT ROWID;
CREATE TABLE recipient (
  peer TEXT NOT NULL, key BLOB NOT NULL, outcome INTEGER NOT NULL, parcel TEXT NOT NULL,
  message INTEGER NOT NULL, at INTEGER NOT NULL, retain_until INTEGER NOT NULL,
  PRIMARY KEY (peer, key)) WITHOUT ROWID;
CREATE TABLE attempt (
  peer TEXT NOT NULL, parcel TEXT NOT NULL, message INTEGER NOT NULL, started INTEGER NOT NULL,
  PRIMARY KEY (peer, parcel, message)) WITHOUT ROWID;
CREATE TABLE notice (id TEXT NOT NULL PRIMARY KEY, retain_until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX parcel_age ON parcel (retain_until);
CREATE INDEX recipient_age ON recipient (retain_until);
CREATE INDEX notice_age ON notice (retain_until);
)";

// In the order of Ledger::Sql.
constexpr std::array<const char*, 17> kSql = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "INSERT OR IGNORE INTO parcel VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    "SELECT digest, done, accepted, retain_until FROM parcel WHERE peer = ?1 AND id = ?2",
    "UPDATE parcel SET retain_until = MAX(retain_until, ?3) WHERE peer = ?1 AND id = ?2",
    "UPDATE parcel SET done = 1 WHERE peer = ?1 AND id = ?2",
    "SELECT outcome, parcel, message, at FROM recipient WHERE peer = ?1 AND key = ?2",
    "INSERT OR IGNORE INTO recipient VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    "INSERT OR REPLACE INTO attempt VALUES (?1, ?2, ?3, ?4)",
    "DELETE FROM attempt WHERE peer = ?1 AND parcel = ?2 AND message = ?3",
    "SELECT message FROM attempt WHERE peer = ?1 AND parcel = ?2 ORDER BY message",
    "SELECT 1 FROM notice WHERE id = ?1",
    "INSERT OR REPLACE INTO notice VALUES (?1, ?2)",
    "DELETE FROM parcel WHERE (peer, id) IN "
    "(SELECT peer, id FROM parcel WHERE retain_until < ?1 AND done = 1 LIMIT ?2)",
    "DELETE FROM recipient WHERE (peer, key) IN "
    "(SELECT peer, key FROM recipient WHERE retain_until < ?1 LIMIT ?2)",
    "DELETE FROM notice WHERE id IN (SELECT id FROM notice WHERE retain_until < ?1 LIMIT ?2)",
    "SELECT (SELECT count(*) FROM parcel), (SELECT count(*) FROM recipient), "
    "(SELECT count(*) FROM attempt), (SELECT count(*) FROM notice)",
};

sqlite3_int64 to_seconds(TimePoint when) {
  return std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count();
}

TimePoint from_seconds(sqlite3_int64 seconds) {
  return TimePoint(std::chrono::seconds(seconds));
}

bool exists(const std::string& file) {
  struct stat info {};
  return ::lstat(file.c_str(), &info) == 0;
}

// The ledger must never be created by accident twice, so the mark is durable first.
Status write_mark(const std::string& file) {
  const std::string mark = file + ".created";
  UniqueFd fd(::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return Status::from_errno(mark, errno);
  }
  const std::size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : file.substr(0, slash);
  UniqueFd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid() || ::fsync(dir.get()) != 0) {
    return Status::from_errno(directory, errno);
  }
  return Status::ok();
}

}  // namespace

void Ledger::StatementCloser::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

// One execution of a prepared statement; resets it when done so that no read lock stays.
class Ledger::Query {
 public:
  Query(const Ledger& ledger, Sql sql)
      : ledger_(ledger), statement_(ledger.statements_[sql].get()) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

  Query& text(std::string_view value) {
    ok_ = ok_ && sqlite3_bind_text64(statement_, ++bound_, value.data(), value.size(),
                                     SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK;
    return *this;
  }
  Query& blob(std::string_view value) {
    ok_ = ok_ && sqlite3_bind_blob64(statement_, ++bound_, value.data(), value.size(),
                                     SQLITE_TRANSIENT) == SQLITE_OK;
    return *this;
  }
  Query& number(sqlite3_int64 value) {
    ok_ = ok_ && sqlite3_bind_int64(statement_, ++bound_, value) == SQLITE_OK;
    return *this;
  }
  // True: a row is there; false: done.
  Result<bool> step(std::string_view doing) {
    const int code = ok_ ? sqlite3_step(statement_) : SQLITE_MISUSE;
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
      return code == SQLITE_ROW;
    }
    return ledger_.error(doing);
  }
  sqlite3_int64 column_number(int column) { return sqlite3_column_int64(statement_, column); }
  std::string column_text(int column) {
    const void* data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr
               ? std::string()
               : std::string(static_cast<const char*>(data), static_cast<std::size_t>(size));
  }

 private:
  const Ledger& ledger_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
  bool ok_ = true;
};

Ledger::Ledger(Ledger&& other) noexcept
    : file_(std::move(other.file_)),
      db_(std::exchange(other.db_, nullptr)),
      statements_(std::move(other.statements_)),
      in_transaction_(std::exchange(other.in_transaction_, false)) {}

Ledger& Ledger::operator=(Ledger&& other) noexcept {
  if (this != &other) {
    close();
    file_ = std::move(other.file_);
    db_ = std::exchange(other.db_, nullptr);
    statements_ = std::move(other.statements_);
    in_transaction_ = std::exchange(other.in_transaction_, false);
  }
  return *this;
}

Ledger::~Ledger() {
  close();
}

void Ledger::close() {
  rollback();
  statements_.clear();
  sqlite3_close(db_);
  db_ = nullptr;
}

Status Ledger::error(std::string_view doing) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db_);
  const bool full = (code & 0xff) == SQLITE_FULL;
  const bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  return Status::temporary(
      full ? "4.3.1" : "4.3.0",
      str_cat({file_, ": ", doing, ": ", db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_),
               damaged ? "; the ledger is damaged: restore it from a backup or move it and "
                         "\".created\" away to begin an empty one (repeated parcels would then "
                         "be delivered again)"
                       : ""}));
}

Result<Ledger> Ledger::open(const std::string& file) {
  const bool marked = exists(file + ".created");
  if (marked && !exists(file)) {
      return Status::temporary(
          "4.3.0", str_cat({file,
                            ": the ledger is gone though it was created once; restore it, "
                            "or remove ",
                            file,
                            ".created to begin an empty one (repeated parcels would then "
                            "be delivered again)"}));
  }
  Ledger ledger(file);
  ledger.may_create_ = !marked;
  TRY(ledger.open_database(false));
  if (!marked) {
    TRY(write_mark(file));
  }
  return ledger;
}

Result<Ledger> Ledger::open_read_only(const std::string& file) {
  Ledger ledger(file);
  TRY(ledger.open_database(true));
  return ledger;
}

Status Ledger::open_database(bool read_only) {
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                    (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (sqlite3_open_v2(file_.c_str(), &db_, flags, nullptr) != SQLITE_OK) {
    return error("cannot open");
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, kBusyMilliseconds);
  TRY(check_schema(read_only));
  return prepare();
}

Status Ledger::check_schema(bool read_only) {
  if (!read_only) {
    TRY(execute("PRAGMA journal_mode = WAL"));
    TRY(execute("PRAGMA synchronous = FULL"));
    // Two dispatchers that start together must not both create.
    TRY(execute("BEGIN IMMEDIATE"));
    in_transaction_ = true;
  }
  int version = 0;
  TRY_ASSIGN(version, pragma_number("PRAGMA user_version"));
  int application = 0;
  TRY_ASSIGN(application, pragma_number("PRAGMA application_id"));
  int tables = 0;
  TRY_ASSIGN(tables, pragma_number("SELECT count(*) FROM sqlite_master"));
  if (version == 0 && application == 0 && tables == 0 && may_create_) {
    TRY(create_schema());
  } else if (application != kApplicationId) {
    return Status::temporary(
        "4.3.0", str_cat({file_, ": is no bsmtp ledger; restore the right file from a backup"}));
  } else if (version != kSchemaVersion) {
    return Status::temporary(
        "4.3.0", str_cat({file_, ": ledger schema ", std::to_string(version),
                          " is not the one of this program (", std::to_string(kSchemaVersion),
                          "); start the matching release"}));
  }
  if (read_only) {
    return Status::ok();
  }
  TRY(execute("COMMIT"));
  in_transaction_ = false;
  return quick_check("PRAGMA quick_check(1)");
}

Status Ledger::create_schema() {
  TRY(execute(kSchema));
  TRY(execute(str_cat({"PRAGMA application_id = ", std::to_string(kApplicationId)}).c_str()));
  return execute(str_cat({"PRAGMA user_version = ", std::to_string(kSchemaVersion)}).c_str());
}

Status Ledger::execute(const char* sql) {
  return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK ? Status::ok()
                                                                        : error("cannot set up");
}

Result<int> Ledger::pragma_number(const char* sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_, sql, -1, &raw, nullptr) != SQLITE_OK) {
    return error("cannot read");
  }
  const Statement statement(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) {
    return error("cannot read");
  }
  return sqlite3_column_int(raw, 0);
}

Status Ledger::quick_check(const char* pragma) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_, pragma, -1, &raw, nullptr) != SQLITE_OK) {
    return error("check failed");
  }
  const Statement statement(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) {
    return error("check failed");
  }
  const unsigned char* answer = sqlite3_column_text(raw, 0);
  const std::string text = answer == nullptr ? "" : reinterpret_cast<const char*>(answer);
  if (text == "ok") {
    return Status::ok();
  }
  return Status::temporary(
      "4.3.0", str_cat({file_, ": the ledger is damaged (", printable(text, 200),
                        "); restore it from a backup or move it and \".created\" away to begin "
                        "an empty one (repeated parcels would then be delivered again)"}));
}

Status Ledger::check() {
  return quick_check("PRAGMA integrity_check(1)");
}

Status Ledger::prepare() {
  static_assert(kSql.size() == kSqlCount);
  for (const char* sql : kSql) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) != SQLITE_OK) {
      return error("cannot prepare");
    }
    statements_.emplace_back(raw);
  }
  return Status::ok();
}

Status Ledger::run(Sql sql) {
  return Query(*this, sql).step("cannot write").status();
}

Status Ledger::begin() {
  BSMTP_CHECK(!in_transaction_);
  TRY(run(kBegin));
  in_transaction_ = true;
  return Status::ok();
}

Status Ledger::commit() {
  BSMTP_CHECK(in_transaction_);
  TRY(run(kCommit));
  in_transaction_ = false;
  return Status::ok();
}

void Ledger::rollback() {
  if (in_transaction_) {
    // An error may have rolled back already; then this one is refused, which is as good.
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    in_transaction_ = false;
  }
}

Result<ParcelKnown> Ledger::note_parcel(const ParcelRecord& parcel) {
  std::optional<ParcelRecord> known;
  TRY_ASSIGN(known, find_parcel(parcel.peer, parcel.parcel_id));
  if (known && known->digest != parcel.digest) {
    return ParcelKnown::kConflict;
  }
  if (known) {
    TRY(Query(*this, kExtendParcel)
            .text(parcel.peer)
            .text(parcel.parcel_id)
            .number(to_seconds(parcel.retain_until))
            .step("cannot keep a parcel longer")
            .status());
    return known->done ? ParcelKnown::kDone : ParcelKnown::kOpen;
  }
  TRY(Query(*this, kInsertParcel)
          .text(parcel.peer)
          .text(parcel.parcel_id)
          .text(parcel.digest)
          .number(to_seconds(parcel.accepted))
          .number(to_seconds(parcel.retain_until))
          .step("cannot note a parcel")
          .status());
  return ParcelKnown::kNew;
}

Status Ledger::finish_parcel(std::string_view peer, std::string_view parcel_id) {
  return Query(*this, kFinishParcel)
      .text(peer)
      .text(parcel_id)
      .step("cannot finish a parcel")
      .status();
}

Result<std::optional<ParcelRecord>> Ledger::find_parcel(std::string_view peer,
                                                        std::string_view parcel_id) {
  Query query(*this, kFindParcel);
  bool found = false;
  TRY_ASSIGN(found, query.text(peer).text(parcel_id).step("cannot look up a parcel"));
  if (!found) {
    return std::optional<ParcelRecord>();
  }
  ParcelRecord record;
  record.peer = peer;
  record.parcel_id = parcel_id;
  record.digest = query.column_text(0);
  record.done = query.column_number(1) != 0;
  record.accepted = from_seconds(query.column_number(2));
  record.retain_until = from_seconds(query.column_number(3));
  return std::optional<ParcelRecord>(std::move(record));
}

Result<std::optional<RecipientRecord>> Ledger::find_recipient(std::string_view peer,
                                                              std::string_view key) {
  Query query(*this, kFindRecipient);
  bool found = false;
  TRY_ASSIGN(found, query.text(peer).blob(key).step("cannot look up a recipient"));
  if (!found) {
    return std::optional<RecipientRecord>();
  }
  RecipientRecord record;
  record.outcome = static_cast<Outcome>(query.column_number(0));
  record.parcel_id = query.column_text(1);
  record.message = static_cast<std::uint64_t>(query.column_number(2));
  record.when = from_seconds(query.column_number(3));
  return std::optional<RecipientRecord>(std::move(record));
}

Status Ledger::record_recipient(std::string_view peer, std::string_view key,
                                const RecipientRecord& record, TimePoint retain_until) {
  return Query(*this, kInsertRecipient)
      .text(peer)
      .blob(key)
      .number(static_cast<int>(record.outcome))
      .text(record.parcel_id)
      .number(static_cast<sqlite3_int64>(record.message))
      .number(to_seconds(record.when))
      .number(to_seconds(retain_until))
      .step("cannot record a recipient")
      .status();
}

Status Ledger::note_attempt(std::string_view peer, std::string_view parcel_id,
                            std::uint64_t message, TimePoint now) {
  return Query(*this, kInsertAttempt)
      .text(peer)
      .text(parcel_id)
      .number(static_cast<sqlite3_int64>(message))
      .number(to_seconds(now))
      .step("cannot note an attempt")
      .status();
}

Status Ledger::clear_attempt(std::string_view peer, std::string_view parcel_id,
                             std::uint64_t message) {
  return Query(*this, kDeleteAttempt)
      .text(peer)
      .text(parcel_id)
      .number(static_cast<sqlite3_int64>(message))
      .step("cannot clear an attempt")
      .status();
}

Result<std::vector<std::uint64_t>> Ledger::attempts(std::string_view peer,
                                                    std::string_view parcel_id) {
  Query query(*this, kListAttempts);
  query.text(peer).text(parcel_id);
  std::vector<std::uint64_t> messages;
  for (;;) {
    bool row = false;
    TRY_ASSIGN(row, query.step("cannot list attempts"));
    if (!row) {
      return messages;
    }
    messages.push_back(static_cast<std::uint64_t>(query.column_number(0)));
  }
}

Result<bool> Ledger::notice_sent(std::string_view notice_id) {
  Query query(*this, kFindNotice);
  return query.text(notice_id).step("cannot look up a notice");
}

Status Ledger::note_notice(std::string_view notice_id, TimePoint retain_until) {
  return Query(*this, kInsertNotice)
      .text(notice_id)
      .number(to_seconds(retain_until))
      .step("cannot note a notice")
      .status();
}

Result<std::uint64_t> Ledger::expire(TimePoint now, std::uint64_t limit) {
  std::uint64_t removed = 0;
  for (const Sql sql : {kExpireParcels, kExpireRecipients, kExpireNotices}) {
    TRY(Query(*this, sql)
            .number(to_seconds(now))
            .number(static_cast<sqlite3_int64>(limit))
            .step("cannot forget old rows")
            .status());
    removed += static_cast<std::uint64_t>(sqlite3_changes(db_));
  }
  return removed;
}

Result<LedgerCounts> Ledger::counts() {
  Query query(*this, kCounts);
  TRY(query.step("cannot count").status());
  LedgerCounts counts;
  counts.parcels = static_cast<std::uint64_t>(query.column_number(0));
  counts.recipients = static_cast<std::uint64_t>(query.column_number(1));
  counts.attempts = static_cast<std::uint64_t>(query.column_number(2));
  counts.notices = static_cast<std::uint64_t>(query.column_number(3));
  return counts;
}

}  // namespace bsmtp::ledger
