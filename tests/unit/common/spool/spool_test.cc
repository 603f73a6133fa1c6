#include "common/spool/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "common/base/id.h"
#include "common/spool/heartbeat.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

using std::chrono::seconds;
using test::TempDir;
using testing::ElementsAre;
using testing::HasSubstr;

os::FileOps& ops() {
  return os::real_file_ops();
}

struct Made {
  Made() : root(dir / "spool") {
    EXPECT_TRUE(Spool::create_layout(ops(), root, {"remote1", "remote2"}).is_ok());
  }
  Spool open() const { return std::move(Spool::open(ops(), root)).value(); }
  TempDir dir;
  std::string root;
};

TEST(Spool, MakesTheWholeTreeAndRepeatsWithoutHarm) {
  const Made made;
  EXPECT_THAT(test::names_in(made.root), ElementsAre("VERSION", "inbound", "notices", "peers"));
  EXPECT_THAT(test::names_in(made.root + "/peers/remote1"),
              ElementsAre("building", "failed", "held", "incoming", "ready", "sent", "tmp"));
  EXPECT_THAT(
      test::names_in(made.root + "/inbound"),
      ElementsAre("accepted", "asked", "deferred", "quarantine", "receipts", "returns", "tmp"));
  EXPECT_EQ(test::slurp(made.root + "/VERSION"), kVersionLine);
  EXPECT_EQ(ops().stat(made.root + "/peers/remote1/incoming")->mode, 02770U);
  test::spit(made.root + "/peers/remote1/incoming/x", "mail");
  EXPECT_TRUE(Spool::create_layout(ops(), made.root, {"remote1", "remote3"}).is_ok());
  EXPECT_EQ(test::slurp(made.root + "/peers/remote1/incoming/x"), "mail");
  EXPECT_THAT(*made.open().peers(), ElementsAre("remote1", "remote2", "remote3"));
}

TEST(Spool, RefusesWhatIsNoSpoolOfItsVersion) {
  const TempDir dir;
  const Status none = Spool::open(ops(), dir / "none").status();
  EXPECT_TRUE(none.is_temporary());
  EXPECT_EQ(none.code(), "4.3.5");
  EXPECT_THAT(none.text(), HasSubstr("no spool"));
  const Made made;
  test::spit(made.root + "/VERSION", "bsmtp-spool 2\n");
  const Status newer = Spool::open(ops(), made.root).status();
  EXPECT_TRUE(newer.is_temporary());
  EXPECT_THAT(newer.text(), HasSubstr("bsmtp-spool 2"));
  EXPECT_TRUE(Spool::create_layout(ops(), made.root, {"remote1"}).is_temporary());
}

// Says what a test wants about the file system.
class OtherFileSystem final : public os::FileOps {
 public:
  os::FileSystemInfo info;
  Result<os::File> open(const std::string& p, int f, mode_t m) override {
    return ops().open(p, f, m);
  }
  Result<std::size_t> read(os::File& f, std::span<char> o) override { return ops().read(f, o); }
  Result<std::size_t> read_at(const os::File& f, std::span<char> o, std::uint64_t a) override {
    return ops().read_at(f, o, a);
  }
  Status write(os::File& f, std::string_view d) override { return ops().write(f, d); }
  Status fsync(os::File& f) override { return ops().fsync(f); }
  Status close(os::File& f) override { return ops().close(f); }
  Status fsync_dir(const std::string& p) override { return ops().fsync_dir(p); }
  Status rename(const std::string& a, const std::string& b) override { return ops().rename(a, b); }
  Status rename_noreplace(const std::string& a, const std::string& b) override {
    return ops().rename_noreplace(a, b);
  }
  Status unlink(const std::string& p) override { return ops().unlink(p); }
  Status mkdir(const std::string& p, mode_t m) override { return ops().mkdir(p, m); }
  Status rmdir(const std::string& p) override { return ops().rmdir(p); }
  Status chmod(const std::string& p, mode_t m) override { return ops().chmod(p, m); }
  Result<std::vector<std::string>> list(const std::string& p) override { return ops().list(p); }
  Result<os::FileInfo> stat(const std::string& p) override { return ops().stat(p); }
  Result<os::FileInfo> stat(const os::File& f) override { return ops().stat(f); }
  Result<os::FileSystemInfo> file_system(const std::string& /*path*/) override { return info; }
  Status lock(os::File& f) override { return ops().lock(f); }
  Result<bool> try_lock(os::File& f) override { return ops().try_lock(f); }
};

TEST(Spool, RefusesNfs) {
  const Made made;
  OtherFileSystem other;
  other.info.type = 0x6969;
  const Status status = Spool::open(other, made.root).status();
  EXPECT_TRUE(status.is_temporary());
  EXPECT_THAT(status.text(), HasSubstr("network file system"));
  EXPECT_TRUE(Spool::create_layout(other, made.root, {}).is_temporary());
}

TEST(Spool, ShedsLoadByFreeSpace) {
  const Made made;
  OtherFileSystem other;
  other.info.free_percent = 5;
  auto spool = Spool::open(other, made.root);
  ASSERT_TRUE(spool.is_ok());
  EXPECT_TRUE(spool->require_free(5).is_ok());
  const Status status = spool->require_free(6);
  EXPECT_EQ(status.code(), "4.3.1");
  EXPECT_TRUE(status.is_temporary());
  other.info.free_percent = 50;
  EXPECT_TRUE(spool->require_free_now(6).is_ok());
}

TEST(Spool, ListsIdsOldestFirstAndNothingElse) {
  const Made made;
  const std::string dir = made.root + "/peers/remote1/incoming/";
  const std::string early = *make_id(TimePoint(seconds(1000)));
  const std::string late = *make_id(TimePoint(seconds(2000)));
  for (const auto& name : {late, early, std::string("README"), early + "x"}) {
    test::spit(dir + name, "");
  }
  EXPECT_THAT(*made.open().list_incoming("remote1"), ElementsAre(early, late));
  EXPECT_TRUE(made.open().list_incoming("nobody").status().is_temporary());
}

TEST(Spool, SweepsOnlyOldTemporaryFiles) {
  const Made made;
  const std::string tmp = made.root + "/peers/remote1/tmp/";
  test::spit(tmp + "young", "");
  test::spit(tmp + "old", "");
  std::filesystem::create_directories(tmp + "old.gone/items");
  test::spit(tmp + "old.gone/items/i", "");
  const auto past = std::filesystem::file_time_type::clock::now() - std::chrono::hours(48);
  std::filesystem::last_write_time(tmp + "old", past);
  std::filesystem::last_write_time(tmp + "old.gone", past);
  EXPECT_EQ(*made.open().sweep_tmp("remote1", system_clock().now(), seconds(86400)), 2U);
  EXPECT_THAT(test::names_in(tmp), ElementsAre("young"));
}

TEST(Spool, OnlyOneHoldsAPeersLock) {
  const Made made;
  const Spool spool = made.open();
  std::atomic<bool> second{false};
  std::thread waiter;
  {
    const auto lock = spool.lock_peer("remote1");
    ASSERT_TRUE(lock.is_ok());
    waiter = std::thread([&] { second = spool.lock_peer("remote1").is_ok(); });
    EXPECT_TRUE(spool.lock_peer("remote2").is_ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_FALSE(second);
  }
  waiter.join();
  EXPECT_TRUE(second);
}

// --- heartbeat ---------------------------------------------------------------------------------

TEST(Heartbeat, ComesBackAsWritten) {
  const Made made;
  const Spool spool = made.open();
  EXPECT_FALSE(read_heartbeat(spool)->has_value());
  Heartbeat beat;
  beat.time = TimePoint(seconds(1795310000));
  beat.late["remote1"] = TimePoint(seconds(1795300000));
  ASSERT_TRUE(write_heartbeat(spool, beat).is_ok());
  beat.late["remote2"] = TimePoint(seconds(1795300001));
  ASSERT_TRUE(write_heartbeat(spool, beat).is_ok());
  const auto read = read_heartbeat(spool);
  ASSERT_TRUE(read.is_ok() && read->has_value());
  EXPECT_EQ((*read)->time, beat.time);
  EXPECT_EQ((*read)->late, beat.late);
  EXPECT_THAT(test::names_in(made.root),
              ElementsAre("VERSION", "heartbeat", "inbound", "notices", "peers"));
}

struct AliveCase {
  const char* name;
  int beat_age;
  int late_for;  // -1: not late
  bool alive;
};

TEST(Heartbeat, ASilentDispatcherOrAStuckPeerStopsEnqueueing) {
  const TimePoint now(seconds(1795310000));
  const AliveCase cases[] = {
      {"just beaten, nothing late", 1, -1, true}, {"beaten at the limit", 100, -1, true},
      {"silent for longer", 101, -1, false},      {"late up to the limit", 1, 100, true},
      {"late for longer", 1, 101, false},         {"clock went back", -1000, -1, true},
  };
  for (const auto& c : cases) {
    const Made made;
    const Spool spool = made.open();
    Heartbeat beat;
    beat.time = now - seconds(c.beat_age);
    if (c.late_for >= 0) {
      beat.late["remote1"] = now - seconds(c.late_for);
    }
    ASSERT_TRUE(write_heartbeat(spool, beat).is_ok());
    const Status status = require_alive(spool, "remote1", now, seconds(100));
    EXPECT_EQ(status.is_ok(), c.alive) << c.name;
    EXPECT_TRUE(c.alive || status.code() == "4.3.2") << c.name;
    EXPECT_EQ(require_alive(spool, "remote2", now, seconds(100)).is_ok(), c.beat_age <= 100)
        << c.name;
  }
}

TEST(Heartbeat, ASpoolWithoutOneIsAliveOnlyWhileYoung) {
  const Made made;
  const Spool spool = made.open();
  const TimePoint now = system_clock().now();
  EXPECT_TRUE(require_alive(spool, "remote1", now, seconds(100)).is_ok());
  EXPECT_EQ(require_alive(spool, "remote1", now + seconds(200), seconds(100)).code(), "4.3.2");
}

}  // namespace
}  // namespace bsmtp::spool
