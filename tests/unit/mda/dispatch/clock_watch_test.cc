#include "mda/dispatch/clock_watch.h"

#include <gtest/gtest.h>

#include "common/base/units.h"
#include "common/spool/heartbeat.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using std::chrono::hours;

const TimePoint kBuilt{hours(480000)};
constexpr int kHoursADay = 24;

TEST(JudgeClockTest, DoubtsOnlyTheImpossible) {
  const struct {
    const char* name;
    int now;
    std::optional<int> believed;
    ClockDoubt doubt;
  } cases[] = {
      {"the first start ever", 1, std::nullopt, ClockDoubt::kNone},
      {"a day later", kHoursADay + 1, 1, ClockDoubt::kNone},
      {"a long holiday", 30 * kHoursADay, 0, ClockDoubt::kNone},
      {"more than that", 30 * kHoursADay + 1, 0, ClockDoubt::kJump},
      {"set back", 10, 1000, ClockDoubt::kNone},
      {"before there was this program", -1, std::nullopt, ClockDoubt::kBeforeBuild},
      {"a dead battery", -400000, 1, ClockDoubt::kBeforeBuild},
  };
  for (const auto& c : cases) {
    const auto believed =
        c.believed ? std::optional<TimePoint>(kBuilt + hours(*c.believed)) : std::nullopt;
    EXPECT_EQ(judge_clock(kBuilt + hours(c.now), kBuilt, believed), c.doubt) << c.name;
  }
  EXPECT_GT(build_day(), TimePoint(*parse_iso("20260101T000000Z")));
  EXPECT_LE(build_day(), system_clock().now());
}

TEST(ClockWatchTest, RemembersWhatItBelievedWhileItDoubts) {
  const test::TempDir dir;
  const std::string root = dir / "spool";
  ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), root, {"remote1"}).is_ok());
  const auto spool = spool::Spool::open(os::real_file_ops(), root);
  ASSERT_TRUE(spool.is_ok());
  const TimePoint start = build_day() + hours(kHoursADay);
  ClockWatch first(*spool);
  EXPECT_TRUE(first.believe(start));
  EXPECT_FALSE(first.believed_before());
  const TimePoint mad = start + hours(31 * kHoursADay);
  EXPECT_FALSE(first.believe(mad));
  ASSERT_EQ(first.believed_before(), start);
  ASSERT_TRUE(spool::write_heartbeat(*spool, {mad, {}, {}, first.believed_before()}).is_ok());

  ClockWatch second(*spool);  // after a restart
  EXPECT_FALSE(second.believe(mad));
  EXPECT_TRUE(second.believe(start + hours(1)));
  EXPECT_FALSE(second.believe(mad + hours(kHoursADay)));
  ASSERT_TRUE(spool::accept_clock(*spool).is_ok());
  EXPECT_TRUE(second.believe(mad + hours(kHoursADay)));
  EXPECT_FALSE(spool::take_clock_accepted(*spool));
}

}  // namespace
}  // namespace bsmtp::mda
