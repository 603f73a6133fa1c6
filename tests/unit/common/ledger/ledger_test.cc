#include "common/ledger/ledger.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
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

// Who looks is another user than who writes: what he made, the writer could not write.
TEST_F(LedgerTest, LookingAtItMakesNoFile) {
  const auto names = [this] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      found.insert(entry.path().filename());
    }
    return found;
  };
  const auto sees_it = [this](const char* when) {
    auto looked = Ledger::look_at(file());
    ASSERT_TRUE(looked.is_ok()) << when << looked.status().to_string();
    EXPECT_TRUE(looked->find_parcel("remote1", "id1")->has_value()) << when;
    EXPECT_FALSE(looked->note_parcel(parcel("d2")).is_ok() &&
                 looked->finish_parcel("remote1", "id1").is_ok())
        << when;
  };
  {
    Ledger writer = open();
    ASSERT_TRUE(writer.begin().is_ok());
    ASSERT_TRUE(writer.note_parcel(parcel("d1")).is_ok());
    ASSERT_TRUE(writer.commit().is_ok());
    sees_it("beside the writer: ");
  }
  const auto before = names();
  sees_it("alone: ");
  EXPECT_EQ(names(), before);
  EXPECT_FALSE(Ledger::look_at(dir_ / "none").is_ok());
  EXPECT_EQ(names(), before);
  const std::string odd = dir_ / "odd %41?name#.sqlite";
  { ASSERT_TRUE(Ledger::open(odd).is_ok()); }
  EXPECT_TRUE(Ledger::look_at(odd).is_ok());
}

TEST_F(LedgerTest, LeavingsOfAnotherUserDoNotStopTheWriter) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs two users";
  }
  constexpr uid_t kWriter = 65534;
  ASSERT_EQ(::chown(dir_.path().c_str(), kWriter, kWriter), 0);
  ASSERT_EQ(::seteuid(kWriter), 0);
  { open(); }
  ASSERT_EQ(::seteuid(0), 0);
  const auto leave = [this](const char* end, const std::string& text) {
    const std::string name = file() + end;
    std::ofstream(name) << text;
    EXPECT_EQ(::chmod(name.c_str(), 0640), 0);
    EXPECT_EQ(::chown(name.c_str(), 0, kWriter), 0);
  };
  leave("-wal", "");
  leave("-shm", std::string(32768, '\0'));
  ASSERT_EQ(::seteuid(kWriter), 0);
  {
    Ledger writer = open();
    EXPECT_TRUE(writer.begin().is_ok());
    EXPECT_TRUE(writer.note_parcel(parcel("d1")).is_ok());
    EXPECT_TRUE(writer.commit().is_ok());
  }
  ASSERT_EQ(::seteuid(0), 0);
  leave("-wal", "what nobody may throw away");
  ASSERT_EQ(::seteuid(kWriter), 0);
  const Status refused = Ledger::open(file()).status();
  EXPECT_EQ(::seteuid(0), 0);
  EXPECT_NE(refused.text().find("-wal"), std::string::npos) << refused.text();
  EXPECT_EQ(std::filesystem::file_size(file() + "-wal"), 26U);
}

// Commands of an admin run as the spool's user, bsmtp-dispatch as another one of its group.
TEST_F(LedgerTest, ItsFilesAreOpenToTheGroup) {
  const auto mode = [this](const char* end) {
    struct stat info {};
    EXPECT_EQ(::lstat((file() + end).c_str(), &info), 0) << end;
    return info.st_mode & 07777U;
  };
  const mode_t before = ::umask(077);
  {
    const Ledger made = open();
    for (const char* end : {"", "-wal", "-shm"}) {
      EXPECT_EQ(mode(end), 0660U) << end;
    }
  }
  ASSERT_EQ(::chmod(file().c_str(), 0640), 0);  // as an earlier release made it
  const std::string other = dir_ / "other";
  std::ofstream(other) << "a file of ours elsewhere";
  ASSERT_EQ(::chmod(other.c_str(), 0600), 0);
  ASSERT_EQ(::symlink(other.c_str(), (file() + "-wal").c_str()), 0);
  EXPECT_FALSE(Ledger::open(file()).is_ok());
  ASSERT_EQ(::unlink((file() + "-wal").c_str()), 0);
  { open(); }
  ::umask(before);
  EXPECT_EQ(mode(""), 0660U);
  EXPECT_EQ(std::filesystem::status(other).permissions(), std::filesystem::perms(0600));
}

TEST_F(LedgerTest, OnlyItsOwnerClearsAway) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs two users";
  }
  constexpr uid_t kWriter = 65534;
  constexpr uid_t kOther = 65533;
  ASSERT_EQ(::chown(dir_.path().c_str(), kOther, kOther), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  ASSERT_EQ(::seteuid(kWriter), 0);
  const Ledger running = open();
  ASSERT_EQ(::chmod(file().c_str(), 0640), 0);
  ASSERT_EQ(::chmod((file() + "-shm").c_str(), 0640), 0);
  ASSERT_EQ(::seteuid(0), 0);
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::lstat((file() + "-shm").c_str(), &before), 0);
  ASSERT_EQ(::seteuid(kOther), 0);
  EXPECT_FALSE(Ledger::open(file()).is_ok());
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_EQ(::lstat((file() + "-shm").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "the index of a dispatcher that runs was taken away";
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
