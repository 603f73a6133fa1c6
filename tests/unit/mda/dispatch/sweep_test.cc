#include "mda/dispatch/sweep.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/id.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

TEST(SweepTest, GivesItemsOfAbandonedParcelsBack) {
  const test::TempDir dir;
  const std::string root = dir.path() + "/spool";
  std::filesystem::create_directory(root);
  ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), root, {"remote1"}).is_ok());
  const auto spool = spool::Spool::open(os::real_file_ops(), root);
  ASSERT_TRUE(spool.is_ok());
  const spool::Paths& paths = spool->paths();
  const std::string item = make_id(system_clock().now()).value();
  const std::string parcel = make_id(system_clock().now()).value();
  const std::string building = paths.stage("remote1", spool::Stage::kBuilding) + "/" + parcel;
  std::filesystem::create_directories(building + "/items");
  test::spit(building + "/items/" + item, "MAIL FROM:<a@b>\r\n");

  NoticeStore notices(*spool, nullptr);
  SubmitContext context{std::make_shared<const config::Config>(), *spool, notices, system_clock()};
  const auto quarantine =
      spool::Quarantine::open(os::real_file_ops(), paths.quarantine(), paths.inbound_tmp(), {});
  ASSERT_TRUE(quarantine.is_ok());
  SweepReport report;
  const Status status = sweep(context, nullptr, *quarantine, {"remote1"}, report);
  EXPECT_TRUE(status.is_ok()) << status.to_string();
  EXPECT_TRUE(std::filesystem::exists(paths.item("remote1", item)));
  EXPECT_FALSE(std::filesystem::exists(building));
}

}  // namespace
}  // namespace bsmtp::mda
