#include "common/base/units.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace bsmtp {
namespace {

TEST(Units, SizesAndDurationsRoundTrip) {
  for (const char* text : {"7M", "1000", "64K", "1G", "0"}) {
    ASSERT_TRUE(parse_size(text).is_ok()) << text;
    EXPECT_EQ(format_size(*parse_size(text)), text);
  }
  for (const char* text : {"60s", "90s", "7d", "5m", "4h", "0s"}) {
    ASSERT_TRUE(parse_duration(text).is_ok()) << text;
    EXPECT_EQ(*parse_duration(format_duration(*parse_duration(text))), *parse_duration(text));
  }
  for (const char* bad : {"", "M", "-1", "7MB", "99999999999G", "1.5M"}) {
    EXPECT_FALSE(parse_size(bad).is_ok()) << bad;
  }
  for (const char* bad : {"", "d", "11y", "999999999d", "soon"}) {
    EXPECT_FALSE(parse_duration(bad).is_ok()) << bad;
  }
}

TEST(Units, DatesAreUtcAndRoundTrip) {
  const TimePoint t = TimePoint(std::chrono::seconds(1763774400));
  EXPECT_EQ(format_iso(t), "20251122T012000Z");
  EXPECT_EQ(format_rfc5322(t), "Sat, 22 Nov 2025 01:20:00 +0000");
  EXPECT_EQ(*parse_iso("20251122T012000Z"), t);
  for (const char* bad :
       {"", "20251322T012000Z", "20250230T000000Z", "2025-11-22T01:20Z", "20251122T250000Z",
        "20251122T012000z", "19691231T000000Z", "22010101T000000Z", "99991231T235959Z"}) {
    EXPECT_FALSE(parse_iso(bad).is_ok()) << bad;
  }
}

}  // namespace
}  // namespace bsmtp
