#include "common/ledger/ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "common/ledger/journal.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::ledger {
namespace {

const TimePoint kNow{std::chrono::seconds(1790000000)};
const TimePoint kKeep = kNow + std::chrono::hours(24);

class LedgerTest : public testing::Test {
 protected:
  Ledger open() {
    auto ledger = Ledger::open(file());
    EXPECT_TRUE(ledger.is_ok()) << ledger.status().to_string();
    return std::move(ledger).value();
  }
  std::string file() const { return dir_ / "ledger.sqlite"; }
  ParcelRecord parcel(const std::string& digest) const {
    return {"remote1", "id1", digest, false, kNow, kKeep};
  }
  test::TempDir dir_;
};

TEST_F(LedgerTest, KnowsParcels) {
  Ledger ledger = open();
  ASSERT_TRUE(ledger.begin().is_ok());
  EXPECT_EQ(ledger.note_parcel(parcel("d1")).value(), ParcelKnown::kNew);
  EXPECT_EQ(ledger.note_parcel(parcel("d1")).value(), ParcelKnown::kOpen);
  EXPECT_EQ(ledger.note_parcel(parcel("d2")).value(), ParcelKnown::kConflict);
  ASSERT_TRUE(ledger.finish_parcel("remote1", "id1").is_ok());
  EXPECT_EQ(ledger.note_parcel(parcel("d1")).value(), ParcelKnown::kDone);
  ASSERT_TRUE(ledger.commit().is_ok());
  const auto found = open().find_parcel("remote1", "id1").value();
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->done);
  EXPECT_FALSE(open().find_parcel("remote2", "id1").value());
}

TEST_F(LedgerTest, RecipientsArePerPeerAndTheFirstOutcomeStands) {
  Ledger ledger = open();
  const std::string key("\0\1k", 3);
  ASSERT_TRUE(ledger.begin().is_ok());
  ASSERT_TRUE(
      ledger.record_recipient("p", key, {Outcome::kDelivered, "x", 3, kNow}, kKeep).is_ok());
  ASSERT_TRUE(ledger.record_recipient("p", key, {Outcome::kFailed, "y", 4, kNow}, kKeep).is_ok());
  ASSERT_TRUE(ledger.commit().is_ok());
  const auto found = ledger.find_recipient("p", key).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->outcome, Outcome::kDelivered);
  EXPECT_EQ(found->parcel_id, "x");
  EXPECT_EQ(found->message, 3U);
  EXPECT_FALSE(ledger.find_recipient("q", key).value());
}

TEST_F(LedgerTest, RolledBackIsNotThere) {
  Ledger ledger = open();
  ASSERT_TRUE(ledger.begin().is_ok());
  ASSERT_TRUE(ledger.note_attempt("p", "id", 7, kNow).is_ok());
  ledger.rollback();
  EXPECT_TRUE(ledger.attempts("p", "id").value().empty());
}

TEST_F(LedgerTest, ExpiresWhatIsOverAndDoneOnly) {
  Ledger ledger = open();
  ASSERT_TRUE(ledger.begin().is_ok());
  ASSERT_TRUE(ledger.note_parcel(parcel("d")).is_ok());
  ASSERT_TRUE(ledger.note_notice("n", kKeep).is_ok());
  EXPECT_EQ(ledger.expire(kKeep, 100).value(), 0U);
  const TimePoint later = kKeep + std::chrono::seconds(1);
  EXPECT_EQ(ledger.expire(later, 100).value(), 1U) << "an open parcel is never forgotten";
  ASSERT_TRUE(ledger.finish_parcel("remote1", "id1").is_ok());
  EXPECT_EQ(ledger.expire(later, 100).value(), 1U);
  ASSERT_TRUE(ledger.commit().is_ok());
}

TEST_F(LedgerTest, DamageForeignFilesAndLossAreErrors) {
  { open(); }
  ASSERT_EQ(::unlink(file().c_str()), 0);
  EXPECT_NE(Ledger::open(file()).status().text().find("created"), std::string::npos);
  std::ofstream(file()) << "this is no database, but long enough to be taken for one: "
                        << std::string(8192, 'x');
  EXPECT_FALSE(Ledger::open(file()).is_ok());
  std::ofstream(file(), std::ios::trunc);
  EXPECT_FALSE(Ledger::open(file()).is_ok()) << "an empty file is not taken for a new ledger";
}

TEST_F(LedgerTest, JournalCommitsInOrderAlsoWhenNobodyWaits) {
  std::vector<int> order;
  {
    auto journal = Journal::open(file());
    ASSERT_TRUE(journal.is_ok());
    const auto first = (*journal)->submit([&](Ledger& ledger) {
      order.push_back(1);
      return ledger.note_attempt("remote", "parcel", 1, kNow);
    });
    for (int i = 0; i < 2000 && (*journal)->commits() == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ((*journal)->commits(), 1U) << "a commit nobody waited for";
    EXPECT_TRUE((*journal)->wait(first).is_ok());
    const auto last = (*journal)->submit([&](Ledger& ledger) {
      order.push_back(2);
      return ledger.note_attempt("remote", "parcel", 2, kNow);
    });
    static_cast<void>(last);  // the journal's end commits it
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  auto ledger = Ledger::open(file());
  ASSERT_TRUE(ledger.is_ok());
  const auto attempts = ledger->attempts("remote", "parcel");
  ASSERT_TRUE(attempts.is_ok());
  EXPECT_EQ(*attempts, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(LedgerTest, JournalCommitsGroupsAndIsolatesFailures) {
  auto journal = Journal::open(file());
  ASSERT_TRUE(journal.is_ok());
  std::vector<Journal::Ticket> done;
  for (std::uint64_t i = 0; i < 100; ++i) {
    done.push_back((*journal)->submit([i](Ledger& ledger) {
      TRY(ledger.note_attempt("p", "id", i, kNow));
      return i == 50 ? Status::temporary("4.3.0", "bad one") : Status::ok();
    }));
  }
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ((*journal)->wait(done[i]).is_ok(), i != 50) << i;
  }
  std::size_t rows = 0;
  ASSERT_TRUE((*journal)
                  ->run([&](Ledger& ledger) {
                    rows = ledger.attempts("p", "id").value().size();
                    return Status::ok();
                  })
                  .is_ok());
  EXPECT_EQ(rows, 99U);
}

}  // namespace
}  // namespace bsmtp::ledger
