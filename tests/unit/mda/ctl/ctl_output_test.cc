#include "mda/ctl/ctl_output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace bsmtp::mda::ctl {
namespace {

using std::chrono::seconds;

TEST(CtlOutput, TableAlignsAndDisarms) {
  Table table({"A", "LONG"});
  EXPECT_TRUE(table.empty());
  table.add({"wide cell", "x\x1b[2Jy"});
  table.add({"", ""});
  std::ostringstream out;
  table.print(out);
  EXPECT_EQ(out.str(), "A          LONG\nwide cell  x?[2Jy\n\n");
}

TEST(CtlOutput, JsonNestsAndQuotes) {
  Json json;
  json.object().field("a", "x\"\n").count("n", 18446744073709551615U).key("l").array();
  json.string("1").object().end().null().boolean(false).end().flag("t", true);
  EXPECT_EQ(json.end().text(),
            "{\"a\":\"x\\\"\\u000a\",\"n\":18446744073709551615,\"l\":[\"1\",{},null,false],"
            "\"t\":true}\n");
}

TEST(CtlOutput, AgesAndSizes) {
  const TimePoint now{seconds(1795000000)};
  EXPECT_EQ(age_text(now - seconds(5), now), "5s");
  EXPECT_EQ(age_text(now + seconds(5), now), "0s");
  EXPECT_EQ(age_text(now - seconds(119), now), "1m");
  EXPECT_EQ(age_text(now - seconds(7200), now), "2h");
  EXPECT_EQ(age_text(now - seconds(3 * 86400), now), "3d");
  EXPECT_EQ(time_text(TimePoint{seconds(0)}), "1970-01-01 00:00:00Z");
  EXPECT_EQ(bytes_text(1000), "1000");
  EXPECT_EQ(bytes_text(1536), "1.5K");
  EXPECT_EQ(bytes_text(512ULL << 20U), "512M");
}

}  // namespace
}  // namespace bsmtp::mda::ctl
