#include "common/spool/order.h"

#include <gtest/gtest.h>

#include "common/spool/receipt_times.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

const std::string kOrderedParcel(44, 'a');
const TimePoint kNow{std::chrono::seconds(1795310000)};

Spool fresh(const test::TempDir& dir) {
  EXPECT_TRUE(Spool::create_layout(os::real_file_ops(), dir / "spool", {"remote1"}).is_ok());
  return Spool::open(os::real_file_ops(), dir / "spool").value();
}

TEST(Orders, AreListedOnceAndGoAway) {
  const test::TempDir dir;
  const Spool spool = fresh(dir);
  EXPECT_TRUE(list_orders(spool, "remote1")->empty());
  for (const OrderKind kind : {OrderKind::kResend, OrderKind::kRelease, OrderKind::kFail}) {
    ASSERT_TRUE(write_order(spool, "remote1", kOrderedParcel, kind).is_ok());
    const auto orders = list_orders(spool, "remote1").value();
    ASSERT_EQ(orders.size(), 1U);
    EXPECT_EQ(orders[0].parcel_id, kOrderedParcel);
    EXPECT_EQ(orders[0].kind, kind);
    EXPECT_EQ(order_from(order_name(kind)), kind);
  }
  ASSERT_TRUE(remove_order(spool, "remote1", kOrderedParcel).is_ok());
  ASSERT_TRUE(remove_order(spool, "remote1", kOrderedParcel).is_ok());
  EXPECT_TRUE(list_orders(spool, "remote1")->empty());
}

TEST(Orders, OtherFilesAreNone) {
  const test::TempDir dir;
  const Spool spool = fresh(dir);
  const std::string peer = spool.paths().peer("remote1");
  test::spit(peer + "/order.short", "fail\n");
  test::spit(peer + "/order." + std::string(44, 'b'), "sing\n");
  const auto orders = list_orders(spool, "remote1").value();
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_FALSE(orders[0].kind);
}

TEST(ReceiptTimes, TheFirstIsKeptAndTheLastMoves) {
  const test::TempDir dir;
  const Spool spool = fresh(dir);
  EXPECT_FALSE(read_receipt_times(spool, "remote1").value());
  for (const int minute : {0, 5, 3}) {
    ASSERT_TRUE(note_receipt(spool, "remote1", kNow + std::chrono::minutes(minute)).is_ok());
  }
  const auto times = read_receipt_times(spool, "remote1").value();
  ASSERT_TRUE(times);
  EXPECT_EQ(times->first, kNow);
  EXPECT_EQ(times->last, kNow + std::chrono::minutes(5));
  test::spit(spool.paths().peer("remote1") + "/receipts", "rubbish");
  EXPECT_TRUE(read_receipt_times(spool, "remote1").value());
}

}  // namespace
}  // namespace bsmtp::spool
