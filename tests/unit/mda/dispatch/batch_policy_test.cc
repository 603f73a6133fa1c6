#include "mda/dispatch/batch_policy.h"

#include <gtest/gtest.h>

#include "common/base/id.h"

namespace bsmtp::mda {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

const TimePoint kNow{seconds(1790000000)};

struct Case {
  const char* name;
  std::vector<std::pair<int, std::uint64_t>> items;  // seconds ago, octets
  std::uint64_t unacked = 0;
  bool flush = false;
  CloseReason reason = CloseReason::kNone;
  std::size_t count = 0;
  int due_in = -1;  // seconds; -1: never
};

class BatchPolicyTest : public testing::TestWithParam<Case> {};

TEST_P(BatchPolicyTest, Decides) {
  const Case& c = GetParam();
  WaitingIndex waiting;
  for (const auto& [ago, octets] : c.items) {
    waiting.add(make_id(kNow - seconds(ago)).value(), octets);
  }
  const BatchLimits limits{5, 1000, seconds(60), 3};
  const BatchDecision decision = decide_batch(waiting, limits, c.unacked, c.flush, kNow);
  EXPECT_EQ(decision.reason, c.reason);
  EXPECT_EQ(decision.items.size(), c.count);
  if (c.due_in < 0) {
    EXPECT_FALSE(decision.next_due);
  } else {
    ASSERT_TRUE(decision.next_due);
    EXPECT_EQ(*decision.next_due, kNow + seconds(c.due_in));
  }
}

const Case kCases[] = {
    {"NothingWaits", {}, 0, true, CloseReason::kNone, 0, -1},
    {"YoungMailWaits", {{10, 100}}, 0, false, CloseReason::kNone, 0, 50},
    {"OldestDecidesTheDueTime", {{40, 100}, {1, 100}}, 0, false, CloseReason::kNone, 0, 20},
    {"AgeCloses", {{60, 100}, {1, 100}}, 0, false, CloseReason::kAge, 2, -1},
    {"CountCloses",
     {{5, 1}, {4, 1}, {3, 1}, {2, 1}, {1, 1}},
     0,
     false,
     CloseReason::kMessages,
     5,
     -1},
    {"CountLeavesTheRest",
     {{6, 1}, {5, 1}, {4, 1}, {3, 1}, {2, 1}, {1, 1}},
     0,
     false,
     CloseReason::kMessages,
     5,
     -1},
    {"BytesClose", {{3, 600}, {2, 300}, {1, 300}}, 0, false, CloseReason::kBytes, 2, -1},
    {"BytesExactlyFull", {{3, 600}, {2, 400}}, 0, false, CloseReason::kBytes, 2, -1},
    {"LargeMessageAlone", {{3, 5000}, {2, 1}}, 0, false, CloseReason::kBytes, 1, -1},
    {"LargeMessageIsNotOvertaken",
     {{3, 10}, {2, 5000}, {1, 10}},
     0,
     false,
     CloseReason::kBytes,
     1,
     -1},
    {"OldMailTravelsWithItsLike",
     {{7 * 86400, 1}, {6 * 86400, 1}, {6 * 86400 - 5, 1}, {10, 1}},
     0,
     false,
     CloseReason::kAge,
     2,
     -1},
    {"AFullQueueIsNoReasonToMixAges",
     {{7 * 86400, 1}, {5, 1}, {4, 1}, {3, 1}, {2, 1}, {1, 1}},
     0,
     true,
     CloseReason::kMessages,
     1,
     -1},
    {"FlushCloses", {{1, 10}}, 0, true, CloseReason::kFlush, 1, -1},
    {"UnackedBlocks", {{100, 10}}, 3, true, CloseReason::kNone, 0, -1},
    {"UnackedBelowLimit", {{100, 10}}, 2, false, CloseReason::kAge, 1, -1},
    {"ArrivalInTheFutureCountsAsNow", {{-500, 10}}, 0, false, CloseReason::kNone, 0, 60},
};

INSTANTIATE_TEST_SUITE_P(Table, BatchPolicyTest, testing::ValuesIn(kCases),
                         [](const auto& c) { return c.param.name; });

TEST(BatchPolicyTest, SpreadIsAnEighthOfTheLifetimeOrADay) {
  EXPECT_EQ(spread_for(hours(14 * 24)), hours(42));
  EXPECT_EQ(spread_for(hours(48)), hours(24));
}

TEST(WaitingIndexTest, KeepsOrderAndSums) {
  WaitingIndex index;
  const std::string old_id = make_id(kNow - hours(2)).value();
  const std::string new_id = make_id(kNow).value();
  index.add(new_id, 5);
  index.add(old_id, 7);
  index.add(old_id, 9);
  index.add("no id", 100);
  EXPECT_EQ(index.count(), 2U);
  EXPECT_EQ(index.octets(), 14U);
  EXPECT_EQ(index.items().begin()->first, old_id);
  ASSERT_TRUE(index.oldest());
  EXPECT_EQ(*index.oldest(), kNow - hours(2));
  index.remove(old_id);
  index.remove(old_id);
  EXPECT_EQ(index.octets(), 5U);
}

}  // namespace
}  // namespace bsmtp::mda
