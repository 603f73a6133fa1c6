// Every file operation of building, submitting and failing a parcel fails once, and every one is
// once the last of the process, or the last before the power goes. After recovery: each item is in
// incoming/ or in exactly one parcel; nothing is in failed/ without its senders' notices, and
// nothing is sent once a notice was written; a parcel the MTA took is sent, or ready with the mark
// that makes its second submission `ambiguous`.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <set>

#include "common/base/id.h"
#include "common/base/text.h"
#include "mda/dispatch/build_job.h"
#include "mda/dispatch/submit_job.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/smtp_server.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Spool;
using spool::Stage;
using test::FaultyFileOps;

constexpr const char* kPeer = "remote1";
constexpr std::size_t kItems = 3;

std::shared_ptr<const config::Config> make_config(const std::string& root, std::uint16_t port) {
  auto config = std::make_shared<config::Config>();
  config->host = "hub.domain.com";
  config->spool_directory = root;
  config->submit = str_cat({"smtp://127.0.0.1:", std::to_string(port)});
  config::Peer peer;
  peer.name = kPeer;
  peer.host = "athena.domain.co.uk";
  peer.profile = config::Profile::kRfc2442;
  config->peers.push_back(peer);
  return config;
}

// One run of build + submit on a fresh spool with three items.
class Gateway {
 public:
  explicit Gateway(test::SmtpServer::Options options) : server_(std::move(options)) {
    EXPECT_TRUE(Spool::create_layout(os::real_file_ops(), root_, {kPeer}).is_ok());
    for (std::size_t i = 0; i < kItems; ++i) {
      ids_.push_back(make_id(system_clock().now()).value());
      test::spit(str_cat({root_, "/peers/remote1/incoming/", ids_.back()}),
                 "MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@domain.co.uk>\r\nDATA\r\n"
                 "Subject: x\r\n\r\nbody\r\n.\r\n");
    }
    config_ = make_config(root_, server_.port());
  }

  // Errors are expected; what they leave behind is the test.
  void work(os::FileOps& ops) {
    const auto spool = Spool::open(ops, root_);
    if (!spool.is_ok()) {
      return;
    }
    NoticeStore notices(*spool, nullptr);
    std::optional<crypto::Signer> signer;
    BuildContext build{config_, *spool, notices, system_clock(), signer};
    const config::Peer& peer = config_->peers.front();
    const std::string id = make_id(system_clock().now()).value();
    auto waiting = spool->list_incoming(kPeer);
    if (waiting.is_ok() && !waiting->empty()) {
      (void)build_parcel(build, peer, id, *waiting, "test");
    }
    const auto ready = spool->list_parcels(kPeer, Stage::kReady);
    if (!ready.is_ok()) {
      return;
    }
    SubmitContext submit{config_, *spool, notices, system_clock()};
    HostMta mta({config_->submit, config_->host, std::chrono::seconds(10)});
    for (const std::string& parcel : *ready) {
      (void)submit_parcel(submit, peer, parcel, mta);
    }
  }

  Spool recovered() {
    auto spool = Spool::open(os::real_file_ops(), root_);
    EXPECT_TRUE(spool.is_ok());
    EXPECT_TRUE(spool::recover_building(*spool, kPeer).is_ok());
    return std::move(spool).value();
  }

  // The machine comes up again with what was on its disk.
  void lose_power(const FaultyFileOps& ops, test::Survival survival) {
    const std::string disk = dir_ / "disk";
    ops.power_cut(disk, survival);
    std::filesystem::remove_all(root_);
    std::filesystem::rename(disk, root_);
  }

  // Where each item is, over incoming/ and all parcels; each exactly once.
  void expect_items_once(const Spool& spool, std::uint64_t k) {
    std::multiset<std::string> found;
    const std::vector<std::string> waiting = spool.list_incoming(kPeer).value();
    found.insert(waiting.begin(), waiting.end());
    for (const Stage stage : spool::kStages) {
      const std::vector<std::string> parcels = spool.list_parcels(kPeer, stage).value();
      for (const std::string& parcel : parcels) {
        const std::string dir = spool.paths().parcel(kPeer, stage, parcel);
        const std::vector<std::string> items = test::names_in(dir + "/items");
        found.insert(items.begin(), items.end());
      }
    }
    EXPECT_EQ(found, std::multiset<std::string>(ids_.begin(), ids_.end())) << "operation " << k;
  }

  std::size_t taken() const {
    std::size_t count = 0;
    for (const auto& message : server_.messages()) {
      count += message.ended ? 1U : 0U;
    }
    return count;
  }
  const std::string& root() const { return root_; }

 private:
  test::TempDir dir_;
  std::string root_ = dir_ / "spool";
  test::SmtpServer server_;
  std::vector<std::string> ids_;
  std::shared_ptr<const config::Config> config_;
};

std::uint64_t operations(const test::SmtpServer::Options& options) {
  Gateway run(options);
  FaultyFileOps ops(run.root());
  run.work(ops);
  return ops.calls();
}

// `accept`: from now on the host MTA takes what it refused until now.
void check(Gateway& run, std::uint64_t k, bool refused, const std::function<void()>& accept) {
  const Spool spool = run.recovered();
  run.expect_items_once(spool, k);
  const std::size_t sent = spool.list_parcels(kPeer, Stage::kSent).value().size();
  const auto ready = spool.list_parcels(kPeer, Stage::kReady).value();
  if (refused) {
    EXPECT_EQ(sent, 0U) << k;
    if (!spool.list_parcels(kPeer, Stage::kFailed).value().empty()) {
      EXPECT_EQ(test::names_in(run.root() + "/notices/ready").size(), kItems) << k;
    }
    accept();
  } else if (run.taken() > 0 && sent == 0) {
    ASSERT_EQ(ready.size(), 1U) << k;
    const auto state = spool::ParcelDir::peek_state(spool, kPeer, Stage::kReady, ready[0]).value();
    EXPECT_TRUE(state.has("submitting") || state.has("finished")) << k;
  } else {
    EXPECT_LE(sent, run.taken()) << k;
  }
  // The next run, on a disk that works, ends it without losing or doubling an item, and does not
  // hand over again what was noted as taken: a peer without a ledger would deliver it twice.
  const std::size_t taken = run.taken();
  const auto state_has = [&](std::string_view key) {
    return ready.size() == 1 &&
           spool::ParcelDir::peek_state(spool, kPeer, Stage::kReady, ready[0]).value().has(key);
  };
  const bool noted = state_has("finished");
  // Once one sender may have been told, the parcel must not travel, whatever the MTA says now.
  const bool given_up = refused && (!test::names_in(run.root() + "/notices/ready").empty() ||
                                    !spool.list_parcels(kPeer, Stage::kFailed).value().empty());
  const bool may_fail = given_up || (refused && state_has("failing"));
  run.work(os::real_file_ops());
  if (noted) {
    EXPECT_EQ(run.taken(), taken) << k;
  }
  const Spool after = run.recovered();
  run.expect_items_once(after, k);
  EXPECT_TRUE(after.list_incoming(kPeer).value().empty()) << k;
  const bool failed = !after.list_parcels(kPeer, Stage::kFailed).value().empty();
  EXPECT_EQ(failed, may_fail) << k;
  EXPECT_TRUE(failed || !given_up) << k;
  EXPECT_EQ(after.list_parcels(kPeer, failed ? Stage::kFailed : Stage::kSent).value().size(), 1U)
      << k;
  EXPECT_EQ(test::names_in(run.root() + "/notices/ready").size(), failed ? kItems : 0) << k;
  if (refused) {
    EXPECT_EQ(run.taken() > taken, !failed) << k;
  }
}

class DispatchCrashTest : public testing::TestWithParam<bool> {
 protected:
  test::SmtpServer::Options options() {
    test::SmtpServer::Options out;
    refusing_ = GetParam();
    out.script = [this](const std::string& command) {
      return std::string(refusing_ && command == "<text>" ? "550 5.7.1 refused\r\n" : "");
    };
    return out;
  }
  void check(Gateway& run, std::uint64_t k) {
    mda::check(run, k, GetParam(), [this] { refusing_ = false; });
  }

 private:
  std::atomic<bool> refusing_{false};
};

TEST_P(DispatchCrashTest, EveryOperationFailsOnce) {
  const std::uint64_t count = operations(options());
  ASSERT_GT(count, 40U);
  for (std::uint64_t k = 1; k <= count; ++k) {
    Gateway run(options());
    FaultyFileOps ops(run.root());
    ops.fail_at(k, k % 2 == 0 ? EIO : ENOSPC);
    run.work(ops);
    check(run, k);
  }
}

TEST_P(DispatchCrashTest, EveryOperationIsTheLast) {
  const std::uint64_t count = operations(options());
  for (std::uint64_t k = 1; k <= count; ++k) {
    Gateway run(options());
    FaultyFileOps ops(run.root());
    ops.stop_at(k);
    run.work(ops);
    check(run, k);
  }
}

TEST_P(DispatchCrashTest, ThePowerGoesAtEveryOperation) {
  const std::uint64_t count = operations(options());
  for (std::uint64_t k = 1; k <= count + 1; ++k) {
    for (const auto survival : {test::Survival::kOnlySynced, test::Survival::kEntriesWithoutData}) {
      Gateway run(options());
      FaultyFileOps ops(run.root());
      ops.stop_at(k);
      run.work(ops);
      SCOPED_TRACE(
          str_cat({ops.trace().back(), ", survival ", std::to_string(static_cast<int>(survival))}));
      run.lose_power(ops, survival);
      check(run, k);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Answers, DispatchCrashTest, testing::Bool(), [](const auto& c) {
  return std::string(c.param ? "Refused" : "Accepted");
});

}  // namespace
}  // namespace bsmtp::mda
