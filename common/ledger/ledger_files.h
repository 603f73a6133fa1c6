// The ledger's files: the database, SQLite's log and index beside it (-wal, -shm), and the mark
// that says it was made. Guarantee: whichever user of the spool's group makes one of them, the
// others can write it, so that no command of an admin keeps bsmtp-dispatch from its ledger.
// May not: open the database and close it again while SQLite has it open, which would drop SQLite's
// locks (fcntl(2)); touch a file of another user, or anything but an ordinary file.
#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp::ledger {

bool file_exists(const std::string& file);

// Owner and mode do not let us write it.
bool is_kept_from_us(const std::string& file);

// Before SQLite opens `file` for writing: makes it, empty, when `create` and it is not there; opens
// the caller's own files to the group of the spool (0660: SQLite gives log and index the
// database's mode), also those of earlier releases; removes what another user left that would be in
// the way. What fails here SQLite reports.
void prepare_files(const std::string& file, bool create);

// The ledger must never be created by accident twice, so the mark is durable.
Status write_mark(const std::string& file);

// A file: URI (RFC 8089) of `file` with `parameters`.
std::string uri_of(const std::string& file, std::string_view parameters);

}  // namespace bsmtp::ledger
