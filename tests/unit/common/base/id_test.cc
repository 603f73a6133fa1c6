#include "common/base/id.h"

#include <gtest/gtest.h>

#include <set>

namespace bsmtp {
namespace {

TimePoint at_ms(std::int64_t ms) {
  return TimePoint(std::chrono::milliseconds(ms));
}

TEST(Id, HoldsItsTimeAndSortsByIt) {
  const std::int64_t times[] = {0, 1, 255, 1795309800123, 9223372036854};  // until 2262
  std::string last;
  for (const std::int64_t ms : times) {
    const auto id = make_id(at_ms(ms));
    ASSERT_TRUE(id.is_ok());
    EXPECT_TRUE(is_id(*id)) << *id;
    EXPECT_EQ(id_time(*id), at_ms(ms)) << *id;
    EXPECT_LT(last, *id);
    last = *id;
  }
}

TEST(Id, ATimeBeyondAllClocksIsTheLastOneThereIs) {
  EXPECT_EQ(id_time(std::string(44, 'f')), at_ms(9223372036854));
}

TEST(Id, IsNeverTheSameTwice) {
  std::set<std::string> seen;
  for (int i = 0; i < 2000; ++i) {
    seen.insert(*make_id(at_ms(5)));
  }
  EXPECT_EQ(seen.size(), 2000U);
}

TEST(Id, NothingElseIsOne) {
  const std::string good = *make_id(at_ms(5));
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "0", "G" + good.substr(1), "A" + good.substr(1),
        "." + good.substr(1), "/" + good.substr(1), good.substr(0, 43) + "\n"}) {
    EXPECT_FALSE(is_id(bad)) << bad;
    EXPECT_FALSE(id_time(bad)) << bad;
  }
}

TEST(Id, RandomHexHasTwoDigitsAnOctet) {
  EXPECT_EQ(random_hex(0)->size(), 0U);
  EXPECT_EQ(random_hex(16)->size(), 32U);
  EXPECT_EQ(random_hex(16)->find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(*random_hex(16), *random_hex(16));
}

}  // namespace
}  // namespace bsmtp
