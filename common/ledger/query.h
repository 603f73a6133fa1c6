// Query: one execution of a prepared statement of the ledger; resets it when done, so that no read
// lock stays. Values are bound without a copy, so they must live until the last step().
// Internal to common/ledger. Threads: as the Ledger.
#pragma once

#include <sqlite3.h>

#include <string>
#include <string_view>

#include "common/ledger/ledger.h"

namespace bsmtp::ledger {

// Times are stored as whole seconds since 1970.
inline sqlite3_int64 to_seconds(TimePoint when) {
  return std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count();
}
inline TimePoint from_seconds(sqlite3_int64 seconds) {
  return TimePoint(std::chrono::seconds(seconds));
}

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
                                     SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK;
    return *this;
  }
  Query& blob(std::string_view value) {
    ok_ = ok_ && sqlite3_bind_blob64(statement_, ++bound_, value.data(), value.size(),
                                     SQLITE_STATIC) == SQLITE_OK;
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

}  // namespace bsmtp::ledger
