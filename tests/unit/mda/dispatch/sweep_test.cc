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

TEST(SweepTest, RemovesNothingBehindADirectoryThatBecameALink) {
  const test::TempDir dir;
  const std::string root = dir.path() + "/spool";
  ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), root, {"remote1"}).is_ok());
  const auto spool = spool::Spool::open(os::real_file_ops(), root);
  ASSERT_TRUE(spool.is_ok());
  const spool::Paths& paths = spool->paths();
  const auto quarantine =
      spool::Quarantine::open(os::real_file_ops(), paths.quarantine(), paths.inbound_tmp(), {});
  ASSERT_TRUE(quarantine.is_ok());
  NoticeStore notices(*spool, nullptr);
  SubmitContext context{std::make_shared<const config::Config>(), *spool, notices, system_clock()};
  for (const std::string& place :
       {paths.inbound_tmp(), paths.notices_tmp(), paths.tmp("remote1"), paths.peer("remote1"),
        paths.inbound(), paths.stage("remote1", spool::Stage::kSent)}) {
    // What lies there looks like the spool, and is old.
    const std::string outside = dir.path() + "/outside";
    std::filesystem::rename(place, outside);
    std::filesystem::create_directory_symlink(outside, place);
    const std::string victim =
        outside +
        (place == paths.inbound() || place == paths.peer("remote1") ? "/tmp/key" : "/key");
    test::spit(victim, "secret");
    std::filesystem::last_write_time(
        victim, std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 365));
    SweepReport report;
    const Status status = sweep(context, nullptr, *quarantine, {"remote1"}, report);
    EXPECT_TRUE(status.is_temporary()) << place;
    EXPECT_NE(status.text().find(place), std::string::npos) << status.to_string();
    EXPECT_EQ(test::slurp(victim), "secret") << place;
    std::filesystem::remove(victim);
    std::filesystem::remove(place);
    std::filesystem::rename(outside, place);
  }
}

}  // namespace
}  // namespace bsmtp::mda
