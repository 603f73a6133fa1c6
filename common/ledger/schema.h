// The tables of the ledger, version by version: a new ledger gets all steps, an old one those it
// lacks, in one transaction. A step that was released is never changed. Internal to common/ledger.
#pragma once

#include <array>

namespace bsmtp::ledger {

// kSchemaSteps[n - 1] leads from version n - 1 to n.
inline constexpr std::array<const char*, 3> kSchemaSteps = {
    R"(
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
)",
    // Receipts: what is still to be told to whom, when each peer was told last, and parcels that
    // were refused for good and must never be delivered.
    R"(
CREATE TABLE receipt_due (
  peer TEXT NOT NULL, parcel TEXT NOT NULL, digest TEXT NOT NULL, fate INTEGER NOT NULL,
  code TEXT NOT NULL, reason TEXT NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (peer, parcel)) WITHOUT ROWID;
CREATE TABLE receipt_written (peer TEXT NOT NULL PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tombstone (
  peer TEXT NOT NULL, parcel TEXT NOT NULL, digest TEXT NOT NULL, fate INTEGER NOT NULL,
  code TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL, retain_until INTEGER NOT NULL,
  PRIMARY KEY (peer, parcel)) WITHOUT ROWID;
CREATE INDEX tombstone_age ON tombstone (retain_until);
)",
    // No new table: recipients may have outcomes that are not final (ledger.h). A program that
    // does not know those would never deliver to them.
    "",
};

}  // namespace bsmtp::ledger
