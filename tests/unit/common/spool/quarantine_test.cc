#include "common/spool/quarantine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/id.h"
#include "common/base/text.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

const TimePoint kStart{seconds(1795000000)};

std::string digest(char c) {
  return std::string(64, c);
}

class QuarantineTest : public ::testing::Test {
 protected:
  QuarantineTest() {
    os::FileOps& ops = os::real_file_ops();
    EXPECT_TRUE(ops.mkdir(dir_ / "quarantine", 0770).is_ok());
    EXPECT_TRUE(ops.mkdir(dir_ / "tmp", 0770).is_ok());
  }

  Quarantine open(QuarantineLimits limits = {}) {
    auto opened = Quarantine::open(os::real_file_ops(), dir_ / "quarantine", dir_ / "tmp", limits);
    EXPECT_TRUE(opened.is_ok());
    return std::move(*opened);
  }

  std::string put(const Quarantine& quarantine, char content, TimePoint now,
                  std::size_t size = 100) {
    test::spit(dir_ / "tmp/raw", std::string(size, content));
    QuarantineEntry entry;
    entry.code = "5.7.1";
    entry.reason = "not for me";
    entry.sender = "x\x1b[31m@y";
    entry.sha256 = digest(content);
    const auto id = quarantine.put(dir_ / "tmp/raw", entry, now);
    EXPECT_TRUE(id.is_ok()) << id.status().text();
    return id.is_ok() ? *id : "";
  }

  test::TempDir dir_;
};

TEST_F(QuarantineTest, KeepsContentAndFacts) {
  const Quarantine quarantine = open();
  const std::string id = put(quarantine, 'a', kStart);
  EXPECT_TRUE(is_id(id));
  EXPECT_EQ(id.substr(12), digest('a').substr(0, 32));
  EXPECT_EQ(test::slurp(quarantine.parcel_file(id)), std::string(100, 'a'));
  const auto entry = quarantine.find(id);
  ASSERT_TRUE(entry.is_ok());
  EXPECT_EQ(entry->code, "5.7.1");
  EXPECT_EQ(entry->reason, "not for me");
  EXPECT_EQ(entry->sender, "x?[31m@y");
  EXPECT_EQ(entry->size, 100U);
  EXPECT_EQ(entry->first, kStart);
  EXPECT_EQ(test::names_in(dir_ / "tmp"), std::vector<std::string>{});
}

TEST_F(QuarantineTest, TheSameContentIsOneEntryWithCopies) {
  const Quarantine quarantine = open();
  const std::string id = put(quarantine, 'a', kStart);
  EXPECT_EQ(put(quarantine, 'a', kStart + seconds(9)), id);
  const auto entries = quarantine.list();
  ASSERT_TRUE(entries.is_ok());
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->front().copies, 2U);
  EXPECT_EQ(entries->front().last, kStart + seconds(9));
  EXPECT_EQ(test::names_in(dir_ / "tmp"), std::vector<std::string>{});
}

TEST_F(QuarantineTest, OldestLeavesWhenACapIsPassed) {
  struct Case {
    const char* name;
    QuarantineLimits limits;
    std::vector<std::string> left;  // first digits of the digests
  };
  const std::vector<Case> cases = {
      {"count", {1U << 20U, 2, seconds(86400)}, {"b", "c"}},
      {"bytes", {250, 100, seconds(86400)}, {"b", "c"}},
      {"age", {1U << 20U, 100, seconds(150)}, {"b", "c"}},
      {"none", {1U << 20U, 100, seconds(86400)}, {"a", "b", "c"}},
      {"the newest always stays", {10, 100, seconds(86400)}, {"c"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Quarantine quarantine = open(c.limits);
    put(quarantine, 'a', kStart);
    put(quarantine, 'b', kStart + seconds(100));
    put(quarantine, 'c', kStart + seconds(200));
    const auto entries = quarantine.list();
    ASSERT_TRUE(entries.is_ok());
    std::vector<std::string> left;
    for (const auto& entry : *entries) {
      left.push_back(entry.sha256.substr(0, 1));
      EXPECT_TRUE(quarantine.drop(entry.id).is_ok());
    }
    EXPECT_EQ(left, c.left);
  }
}

TEST_F(QuarantineTest, ResolveTakesAnUnambiguousBeginning) {
  const Quarantine quarantine = open();
  const std::string a = put(quarantine, 'a', kStart);
  put(quarantine, 'b', kStart);
  EXPECT_EQ(quarantine.resolve(a.substr(0, 20)).value(), a);
  EXPECT_TRUE(quarantine.resolve(a.substr(0, 12)).status().is_permanent());  // both
  EXPECT_TRUE(quarantine.resolve(a.substr(0, 3)).status().is_permanent());   // too short
  EXPECT_TRUE(quarantine.resolve("../../etc/passwd").status().is_permanent());
  EXPECT_TRUE(quarantine.find("../../etc").status().is_permanent());
  EXPECT_TRUE(quarantine.drop("../../etc").is_permanent());
  EXPECT_TRUE(quarantine.drop(std::string(44, '0')).is_ok());  // gone already
}

TEST_F(QuarantineTest, EntryWithoutMetaIsListedAndDroppable) {
  const Quarantine quarantine = open();
  const std::string id = put(quarantine, 'a', kStart);
  ASSERT_TRUE(os::real_file_ops().unlink(quarantine.directory() + "/" + id + "/meta").is_ok());
  const auto entries = quarantine.list();
  ASSERT_TRUE(entries.is_ok());
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_THAT(entries->front().reason, HasSubstr("meta"));
  EXPECT_TRUE(quarantine.drop(id).is_ok());
  EXPECT_EQ(quarantine.list()->size(), 0U);
}

TEST_F(QuarantineTest, DigestAtMostOncePerIntervalAndOnlyForNews) {
  const Quarantine quarantine = open();
  EXPECT_FALSE(quarantine.pending_digest(kStart, seconds(3600))->has_value());
  put(quarantine, 'a', kStart);
  ASSERT_TRUE(quarantine.count(QuarantineCounter::kShapeless).is_ok());
  const auto first = quarantine.pending_digest(kStart + seconds(1), seconds(3600));
  ASSERT_TRUE(first.is_ok() && first->has_value());
  EXPECT_TRUE(is_id((*first)->id));
  EXPECT_THAT((*first)->text, HasSubstr("not for me"));
  EXPECT_THAT((*first)->text, HasSubstr("1 mails that were no parcels"));
  EXPECT_THAT((*first)->text, Not(HasSubstr("\x1b")));
  // Died before it was marked: the same notice again, under the same id.
  const auto again = quarantine.pending_digest(kStart + seconds(2), seconds(3600));
  ASSERT_TRUE(again.is_ok() && again->has_value());
  EXPECT_EQ((*again)->id, (*first)->id);

  ASSERT_TRUE(quarantine.mark_reported(**first).is_ok());
  put(quarantine, 'b', kStart + seconds(60));
  EXPECT_FALSE(quarantine.pending_digest(kStart + seconds(120), seconds(3600))->has_value());
  const auto later = quarantine.pending_digest(kStart + seconds(4000), seconds(3600));
  ASSERT_TRUE(later.is_ok() && later->has_value());
  EXPECT_NE((*later)->id, (*first)->id);
  EXPECT_THAT((*later)->text, HasSubstr("1 new since the last report"));
  ASSERT_TRUE(quarantine.mark_reported(**later).is_ok());
  EXPECT_FALSE(quarantine.pending_digest(kStart + seconds(9000), seconds(3600))->has_value());
}

TEST_F(QuarantineTest, AClockSetBackDoesNotSilenceTheDigest) {
  const Quarantine quarantine = open();
  put(quarantine, 'a', kStart);
  const auto first = quarantine.pending_digest(kStart + seconds(1000000), seconds(3600));
  ASSERT_TRUE(first.is_ok() && first->has_value());
  ASSERT_TRUE(quarantine.mark_reported(**first).is_ok());
  put(quarantine, 'b', kStart + seconds(10));
  EXPECT_TRUE(quarantine.pending_digest(kStart + seconds(20), seconds(3600))->has_value());
}

TEST_F(QuarantineTest, CountersSurviveEverything) {
  const Quarantine quarantine = open({1U << 20U, 1, seconds(86400)});
  put(quarantine, 'a', kStart);
  put(quarantine, 'b', kStart + seconds(1));
  ASSERT_TRUE(quarantine.count(QuarantineCounter::kShed).is_ok());
  const auto counters = quarantine.counters();
  ASSERT_TRUE(counters.is_ok());
  EXPECT_EQ(counters->quarantined, 2U);
  EXPECT_EQ(counters->evicted, 1U);
  EXPECT_EQ(counters->shed, 1U);
}

}  // namespace
}  // namespace bsmtp::spool
