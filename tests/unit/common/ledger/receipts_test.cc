// Receipts due, tombstones, and the conversion of a ledger that an earlier release wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>

#include "common/ledger/ledger.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::ledger {
namespace {

using spool::ParcelAnswer;
using spool::ParcelFate;

const TimePoint kTime{std::chrono::seconds(1795310000)};
const TimePoint kUntil = kTime + std::chrono::hours(48);
const std::string kDigest(64, 'd');

ParcelAnswer answer(char id, ParcelFate fate = ParcelFate::kAccepted) {
  const bool taken = fate == ParcelFate::kAccepted;
  return {std::string(44, id), kDigest, fate, taken ? "2.0.0" : "5.4.7", taken ? "" : "too late"};
}

class LedgerReceipts : public testing::Test {
 protected:
  LedgerReceipts() : ledger_(open()) { EXPECT_TRUE(ledger_.begin().is_ok()); }
  Ledger open() {
    auto ledger = Ledger::open(dir_ / "ledger.sqlite");
    EXPECT_TRUE(ledger.is_ok()) << ledger.status().to_string();
    return std::move(ledger).value();
  }
  std::vector<std::string> ids(const std::string& peer, std::uint64_t limit = 100) {
    std::vector<std::string> found;
    const auto all = ledger_.receipts_due(peer, limit).value();
    for (const ReceiptDue& due : all) {
      found.push_back(due.answer.parcel_id.substr(0, 1));
    }
    return found;
  }
  test::TempDir dir_;
  Ledger ledger_;
};

TEST_F(LedgerReceipts, AreKeptPerPeerInTheOrderOfTheirTimes) {
  ASSERT_TRUE(ledger_.note_receipt_due("p", answer('b'), kTime).is_ok());
  ASSERT_TRUE(ledger_.note_receipt_due("p", answer('c'), kTime - std::chrono::seconds(5)).is_ok());
  ASSERT_TRUE(ledger_.note_receipt_due("q", answer('b'), kTime).is_ok());
  EXPECT_THAT(ids("p"), testing::ElementsAre("c", "b"));
  EXPECT_THAT(ids("p", 1), testing::ElementsAre("c"));
  const auto waiting = ledger_.receipts_waiting().value();
  ASSERT_EQ(waiting.size(), 2U);
  EXPECT_EQ(waiting[0].peer, "p");
  EXPECT_EQ(waiting[0].count, 2U);
  EXPECT_EQ(waiting[0].oldest, kTime - std::chrono::seconds(5));
  EXPECT_EQ(waiting[0].last_written, TimePoint());
  EXPECT_EQ(ledger_.counts()->receipts, 3U);
}

TEST_F(LedgerReceipts, ASecondRequestKeepsTheEarlierTimeAndTheLaterAnswer) {
  ASSERT_TRUE(ledger_.note_receipt_due("p", answer('b'), kTime).is_ok());
  ASSERT_TRUE(ledger_.note_receipt_due("p", answer('b', ParcelFate::kExpired), kUntil).is_ok());
  const auto due = ledger_.receipts_due("p", 9).value();
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].due, kTime);
  EXPECT_EQ(due[0].answer.fate, ParcelFate::kExpired);
  EXPECT_EQ(due[0].answer.code, "5.4.7");
  EXPECT_EQ(due[0].answer.text, "too late");
  EXPECT_EQ(due[0].answer.digest, kDigest);
}

TEST_F(LedgerReceipts, LeaveWhenTheyAreWrittenAndTheTimeIsKept) {
  for (const char id : {'b', 'c'}) {
    ASSERT_TRUE(ledger_.note_receipt_due("p", answer(id), kTime).is_ok());
  }
  const auto first = ledger_.receipts_due("p", 1).value();
  ASSERT_TRUE(ledger_.receipts_written("p", first, kUntil).is_ok());
  EXPECT_THAT(ids("p"), testing::ElementsAre("c"));
  EXPECT_EQ(ledger_.receipts_waiting().value().at(0).last_written, kUntil);
  EXPECT_EQ(ledger_.drop_receipts("p").value(), 1U);
  EXPECT_TRUE(ledger_.receipts_waiting().value().empty());
}

TEST_F(LedgerReceipts, ABuriedParcelIsNeverTakenForANewOne) {
  const ParcelAnswer expired = answer('e', ParcelFate::kExpired);
  ASSERT_TRUE(ledger_.bury("p", expired, kTime, kUntil).is_ok());
  ASSERT_TRUE(ledger_.bury("p", answer('e', ParcelFate::kRejected), kTime, kUntil).is_ok());
  EXPECT_EQ(ledger_.find_tombstone("p", expired.parcel_id).value()->fate, ParcelFate::kExpired);
  EXPECT_FALSE(ledger_.find_tombstone("q", expired.parcel_id).value());

  ParcelRecord parcel{"p", expired.parcel_id, kDigest, false, kTime, kUntil};
  EXPECT_EQ(ledger_.note_parcel(parcel).value(), ParcelKnown::kBuried);
  EXPECT_FALSE(ledger_.find_parcel("p", expired.parcel_id).value());
  parcel.digest = std::string(64, 'f');
  EXPECT_EQ(ledger_.note_parcel(parcel).value(), ParcelKnown::kConflict);
  parcel.peer = "q";
  EXPECT_EQ(ledger_.note_parcel(parcel).value(), ParcelKnown::kNew);

  EXPECT_EQ(ledger_.expire(kUntil, 9).value(), 0U);
  EXPECT_EQ(ledger_.expire(kUntil + std::chrono::seconds(1), 9).value(), 1U);
  EXPECT_FALSE(ledger_.find_tombstone("p", expired.parcel_id).value());
}

TEST_F(LedgerReceipts, TombstonesAreCountedForEachPeer) {
  EXPECT_TRUE(ledger_.tombstones().value().empty());
  for (const char id : {'b', 'c'}) {
    ASSERT_TRUE(ledger_.bury("p", answer(id, ParcelFate::kExpired), kTime, kUntil).is_ok());
  }
  ASSERT_TRUE(ledger_.bury("q", answer('b', ParcelFate::kRejected), kTime, kUntil).is_ok());
  EXPECT_THAT(ledger_.tombstones().value(),
              testing::ElementsAre(testing::Pair("p", 2U), testing::Pair("q", 1U)));
}

// The statements by which version 0.1.0 made its ledger, as they were.
constexpr const char* kVersion1 = R"(
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
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
PRAGMA application_id = 1651731828;
PRAGMA user_version = 1;
INSERT INTO parcel VALUES ('p', 'old', 'dd', 1795310000, 1895310000, 1);
INSERT INTO recipient VALUES ('p', x'6b', 1, 'old', 4, 1795310000, 1895310000);
INSERT INTO attempt VALUES ('p', 'open', 7, 1795310000);
INSERT INTO notice VALUES ('n1', 1895310000);
COMMIT;
)";

class LedgerConversion : public testing::Test {
 protected:
  void make(const char* more) {
    test::spit(file() + ".created", "");
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, kVersion1, nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    EXPECT_EQ(sqlite3_exec(db, more, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
  }
  std::string file() const { return dir_ / "ledger.sqlite"; }
  test::TempDir dir_;
};

TEST_F(LedgerConversion, KeepsEverythingOfVersion1) {
  make("");
  const auto looked = Ledger::open_read_only(file());
  ASSERT_FALSE(looked.is_ok()) << "looking at a ledger must not change it";
  EXPECT_NE(looked.status().text().find("bsmtp-dispatch converts it"), std::string::npos);
  for (int i = 0; i < 2; ++i) {  // a second time it is there already
    auto opened = Ledger::open(file());
    ASSERT_TRUE(opened.is_ok()) << opened.status().to_string();
    Ledger& ledger = *opened;
    EXPECT_TRUE(ledger.find_parcel("p", "old").value()->done);
    EXPECT_EQ(ledger.find_recipient("p", "k").value()->message, 4U);
    EXPECT_THAT(ledger.attempts("p", "open").value(), testing::ElementsAre(7U));
    EXPECT_TRUE(ledger.notice_sent("n1").value());
    EXPECT_TRUE(ledger.check().is_ok());
    ASSERT_TRUE(ledger.begin().is_ok());
    EXPECT_TRUE(ledger.note_receipt_due("p", answer('b'), kTime).is_ok());
    EXPECT_TRUE(ledger.bury("p", answer('e', ParcelFate::kExpired), kTime, kUntil).is_ok());
    ASSERT_TRUE(ledger.commit().is_ok());
  }
  EXPECT_TRUE(Ledger::open_read_only(file()).is_ok());
}

TEST_F(LedgerConversion, ThatCannotBeFinishedChangesNothing) {
  make("CREATE TABLE tombstone (other INTEGER);");
  EXPECT_FALSE(Ledger::open(file()).is_ok());
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
  EXPECT_NE(sqlite3_exec(db, "SELECT * FROM receipt_due", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "DROP TABLE tombstone", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  EXPECT_TRUE(Ledger::open(file()).is_ok());
}

TEST_F(LedgerConversion, ANewerVersionIsRefusedByItsNumber) {
  make("PRAGMA user_version = 4;");
  const auto opened = Ledger::open(file());
  ASSERT_FALSE(opened.is_ok());
  EXPECT_NE(opened.status().text().find("ledger schema 4"), std::string::npos);
  EXPECT_NE(opened.status().text().find("matching release"), std::string::npos);
}

}  // namespace
}  // namespace bsmtp::ledger
