// See ledger.h: opening, schema and transactions. Only this folder uses sqlite3.h.
#include "common/ledger/ledger.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/ledger/ledger_files.h"
#include "common/ledger/query.h"
#include "common/ledger/schema.h"

namespace bsmtp::ledger {
namespace {

// "bsmt": a database of another program is never taken for a ledger.
constexpr int kApplicationId = 0x62736d74;
constexpr int kBusyMilliseconds = 10000;

// In the order of Ledger::Sql.
constexpr std::array<const char*, 28> kSql = {
    "BEGIN IMMEDIATE",
    "BEGIN",
    "COMMIT",
    "INSERT OR IGNORE INTO parcel VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    "SELECT digest, done, accepted, retain_until FROM parcel WHERE peer = ?1 AND id = ?2",
    "UPDATE parcel SET retain_until = MAX(retain_until, ?3) WHERE peer = ?1 AND id = ?2",
    "UPDATE parcel SET done = 1 WHERE peer = ?1 AND id = ?2",
    "SELECT outcome, parcel, message, at FROM recipient WHERE peer = ?1 AND key = ?2",
    "INSERT INTO recipient VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (peer, key) DO UPDATE "
    "SET "
    "outcome = ?3, parcel = ?4, message = ?5, at = ?6, retain_until = max(retain_until, ?7) "
    "WHERE outcome > 3",  // see is_final()
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
    "INSERT INTO receipt_due VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (peer, parcel) DO "
    "UPDATE SET digest = ?3, fate = ?4, code = ?5, reason = ?6, due = MIN(due, ?7)",
    "SELECT d.peer, MIN(due), count(*), COALESCE(w.at, 0) FROM receipt_due d "
    "LEFT JOIN receipt_written w ON w.peer = d.peer GROUP BY d.peer",
    "SELECT parcel, digest, fate, code, reason, due FROM receipt_due WHERE peer = ?1 "
    "ORDER BY due, parcel LIMIT ?2",
    "DELETE FROM receipt_due WHERE peer = ?1 AND parcel = ?2",
    "DELETE FROM receipt_due WHERE peer = ?1",
    "INSERT OR REPLACE INTO receipt_written VALUES (?1, ?2)",
    "INSERT OR IGNORE INTO tombstone VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    "SELECT digest, fate, code, reason FROM tombstone WHERE peer = ?1 AND parcel = ?2",
    "SELECT peer, count(*) FROM tombstone GROUP BY peer",
    "DELETE FROM tombstone WHERE (peer, parcel) IN "
    "(SELECT peer, parcel FROM tombstone WHERE retain_until < ?1 LIMIT ?2)",
    "SELECT (SELECT count(*) FROM parcel), (SELECT count(*) FROM recipient), "
    "(SELECT count(*) FROM attempt), (SELECT count(*) FROM notice), "
    "(SELECT count(*) FROM receipt_due), (SELECT count(*) FROM tombstone)",
};

}  // namespace

void Ledger::StatementCloser::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Ledger::Ledger(Ledger&& other) noexcept {
  *this = std::move(other);
}

Ledger& Ledger::operator=(Ledger&& other) noexcept {
  if (this != &other) {
    close();
    file_ = std::move(other.file_);
    db_ = std::exchange(other.db_, nullptr);
    statements_ = std::move(other.statements_);
    in_transaction_ = std::exchange(other.in_transaction_, false);
    wal_ = std::move(other.wal_);
    synced_by_sqlite_ = other.synced_by_sqlite_;
    sync_failed_ = other.sync_failed_;
  }
  return *this;
}

Ledger::~Ledger() {
  close();
}

void Ledger::close() {
  rollback();
  statements_.clear();
  wal_.reset();
  sqlite3_close(db_);
  db_ = nullptr;
}

Status Ledger::error(std::string_view doing) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db_);
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED) {
    // With its errno: who opens it can tell this from what needs a human, and tries again.
    return Status::from_errno(str_cat({file_, ": ", doing, ": ", sqlite3_errmsg(db_)}), EBUSY);
  }
  const bool full = (code & 0xff) == SQLITE_FULL ||
                    ((code & 0xff) == SQLITE_IOERR && sqlite3_system_errno(db_) == ENOSPC);
  // SQLite's second attempt, without O_CREAT, has hidden the errno.
  const bool kept_out = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY;
  const bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  return Status::temporary(
      full ? "4.3.1" : "4.3.0",
      str_cat({file_, ": ", doing, ": ", db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_),
               full ? "; make room on its file system, what waits goes on by itself" : "",
               kept_out ? "; look at the owner, mode and free space of its directory, and at the "
                          "files beside it that end in -wal and -shm: bsmtp-dispatch must be "
                          "able to write them"
                        : "",
               damaged ? "; the ledger is damaged: restore it from a backup or move it and "
                         "\".created\" away to begin an empty one (repeated parcels would then "
                         "be delivered again)"
                       : ""}));
}

Result<Ledger> Ledger::open(const std::string& file) {
  const bool marked = file_exists(file + ".created");
  if (marked && !file_exists(file)) {
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
  prepare_files(file, !marked);
  TRY(ledger.open_database(file, Access::kWrite));
  if (!marked) {
    TRY(ledger.sync());
    TRY(write_mark(file));
  }
  return ledger;
}

Result<Ledger> Ledger::open_read_only(const std::string& file) {
  Ledger ledger(file);
  TRY(ledger.open_database(file, Access::kRead));
  return ledger;
}

// Without a log nobody has it open for writing, and SQLite would make one, with us as its owner.
// (Where there can be no log, see choose_journal(), a change under way has a journal instead.)
Result<Ledger> Ledger::look_at(const std::string& file) {
  Ledger ledger(file);
  const bool written = file_exists(file + "-wal") || file_exists(file + "-journal");
  TRY(ledger.open_database(uri_of(file, written ? "readonly_shm=1" : "immutable=1"),
                           Access::kRead));
  return ledger;
}

Status Ledger::open_database(const std::string& name, Access access) {
  // Else each of SQLite's allocations, in whatever thread, would take one lock to be counted.
  [[maybe_unused]] static const int kUncounted = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  const bool read_only = access == Access::kRead;
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_URI |
                    (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (sqlite3_open_v2(name.c_str(), &db_, flags, nullptr) != SQLITE_OK) {
    return error("cannot open");
  }
  // Of a file that it may only read SQLite says so at the first change.
  if (!read_only && sqlite3_db_readonly(db_, "main") == 1 && is_kept_from_us(file_)) {
    return Status::temporary(
        "4.3.0", str_cat({file_, ": user id ", std::to_string(::geteuid()),
                          " may not write it; run bsmtp-dispatch as its owner, the one of the "
                          "signing key, or chown it and the files beside it to that user"}));
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, kBusyMilliseconds);
  TRY(check_schema(read_only));
  return prepare();
}

Status Ledger::check_schema(bool read_only) {
  if (!read_only) {
    TRY(choose_journal());
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
    TRY(set_schema(0));
  } else if (application != kApplicationId) {
    return Status::temporary(
        "4.3.0", str_cat({file_, ": is no bsmtp ledger; restore the right file from a backup"}));
  } else if (version >= 1 && version < kSchemaVersion && !read_only) {
    TRY(set_schema(version));
  } else if (version != kSchemaVersion) {
    return Status::temporary(
        "4.3.0", str_cat({file_, ": ledger schema ", std::to_string(version),
                          " is not the one of this program (", std::to_string(kSchemaVersion),
                          version < kSchemaVersion ? "); bsmtp-dispatch converts it when it starts"
                                                   : "); start the matching release"}));
  }
  if (read_only) {
    return Status::ok();
  }
  TRY(execute("COMMIT"));
  in_transaction_ = false;
  return quick_check("PRAGMA quick_check(1)");
}

// Write-ahead logging, synced by sync(). Where SQLite cannot have that (it keeps the journal mode
// it had, and says so), each commit is synced by SQLite itself.
Status Ledger::choose_journal() {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_, "PRAGMA journal_mode = WAL", -1, &raw, nullptr) != SQLITE_OK) {
    return error("cannot set up");
  }
  const Statement statement(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) {
    return error("cannot set up");
  }
  const unsigned char* answer = sqlite3_column_text(raw, 0);
  synced_by_sqlite_ =
      answer == nullptr || std::string_view(reinterpret_cast<const char*>(answer)) != "wal";
  return execute(synced_by_sqlite_ ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
}

// From version `from` (0: nothing there) to that of this program.
Status Ledger::set_schema(int from) {
  static_assert(kSchemaSteps.size() == kSchemaVersion);
  for (auto step = static_cast<std::size_t>(from); step < kSchemaSteps.size(); ++step) {
    TRY(execute(kSchemaSteps.at(step)));
  }
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

Status Ledger::begin_read() {
  BSMTP_CHECK(!in_transaction_);
  TRY(run(kBeginRead));
  in_transaction_ = true;
  return Status::ok();
}

Status Ledger::commit() {
  BSMTP_CHECK(in_transaction_);
  TRY(run(kCommit));
  in_transaction_ = false;
  return Status::ok();
}

Status Ledger::sync() {
  if (synced_by_sqlite_) {
    return Status::ok();
  }
  if (sync_failed_) {
    return checkpoint();
  }
  const std::string wal = file_ + "-wal";
  if (!wal_.valid()) {
    // Stays the same file while db_ is open.
    wal_.reset(::open(wal.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!wal_.valid()) {
      // None: nothing was ever committed that SQLite has not put into the database itself.
      return errno == ENOENT ? Status::ok() : Status::from_errno(wal, errno);
    }
  }
  if (::fdatasync(wal_.get()) != 0) {
    const int error = errno;
    sync_failed_ = true;
    return Status::from_errno(wal, error);
  }
  return Status::ok();
}

// The kernel tells of a lost page once only, so another fdatasync would prove nothing: all that
// was committed is written again, into the database itself.
Status Ledger::checkpoint() {
  int logged = 0;
  int copied = 0;
  if (sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_FULL, &logged, &copied) !=
      SQLITE_OK) {
    return error("cannot be written to disk");
  }
  if (logged != copied) {
    return Status::temporary("4.3.0", file_ + ": cannot be written to disk as a whole yet");
  }
  sync_failed_ = false;
  return Status::ok();
}

void Ledger::rollback() {
  if (in_transaction_) {
    // An error may have rolled back already; then this one is refused, which is as good.
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    in_transaction_ = false;
  }
}

}  // namespace bsmtp::ledger
