// What follows after a parcel was sent - sent again, acknowledged, given up as unknown, split -
// with every file operation failing once, and every one once the last before the power goes. After
// recovery, on a disk that works, all of it ends well: each message is in exactly one place (or its
// parcel is acknowledged), nobody was told anything before the parcel was surely given up, and
// nobody is told twice.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <iterator>
#include <set>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/spool/receipt_record.h"
#include "mda/dispatch/acknowledge.h"
#include "mda/dispatch/outbound.h"
#include "mda/dispatch/sent_job.h"
#include "mda/dispatch/split_job.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Spool;
using spool::Stage;
using std::chrono::hours;
using test::FaultyFileOps;

constexpr const char* kPeer = "remote1";
constexpr std::size_t kItems = 4;
const std::string kDigest(64, 'd');

struct Scenario {
  const char* name;
  // The parcel's state at the beginning.
  std::function<void(ParcelState&, TimePoint now)> prepare;
  std::function<Status(SubmitContext&, const std::string& parcel)> work;
  // Where the parcel ends, "gone" or a stage, and how many notices there are then.
  const char* ends_in;
  std::size_t notices;
};

std::shared_ptr<const config::Config> make_config(const std::string& root) {
  auto config = std::make_shared<config::Config>();
  config->host = "hub.domain.com";
  config->spool_directory = root;
  config::Peer peer;
  peer.name = kPeer;
  peer.host = "athena.domain.co.uk";
  peer.profile = config::Profile::kRfc2442;  // no key is needed to build the halves
  peer.receipts = "yes";
  config->peers.push_back(peer);
  return config;
}

// A spool with one parcel in sent/ that awaits a receipt.
class Spooled {
 public:
  explicit Spooled(const Scenario& scenario) : now_(system_clock().now()) {
    FaultyFileOps ops(dir_.path());  // without faults: only faster than a disk
    EXPECT_TRUE(Spool::create_layout(ops, root(), {kPeer}).is_ok());
    parcel_ = make_id(now_).value();
    const spool::Paths paths(root());
    const std::string path = paths.parcel(kPeer, Stage::kSent, parcel_);
    for (std::size_t i = 0; i < kItems; ++i) {
      items_.push_back(make_id(now_).value());
    }
    std::sort(items_.begin(), items_.end());
    EXPECT_TRUE(ops.mkdir(path, 0770).is_ok());
    EXPECT_TRUE(ops.mkdir(path + "/items", 0770).is_ok());
    for (const std::string& item : items_) {
      test::spit(str_cat({path, "/items/", item}),
                 "MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@domain.co.uk>\r\nDATA\r\n"
                 "Subject: x\r\n\r\nbody\r\n.\r\n");
    }
    test::spit(path + "/entity", "Content-Type: text/plain\r\n\r\nx\r\n");
    ParcelState state;
    state.token = "0a";
    state.created = state.oldest = state.handed = state.finished = now_ - hours(1);
    state.expires = now_ + hours(300);
    state.receipt = 1;
    state.digest = kDigest;
    state.answer = "250 ok";
    scenario.prepare(state, now_);
    if (!state.splitting.empty()) {
      state.split_at = items_[kItems / 2];
    }
    test::spit(path + "/state", state.to_fields().format());
  }

  std::string root() const { return dir_ / "spool"; }
  const std::string& parcel() const { return parcel_; }
  const std::vector<std::string>& items() const { return items_; }
  std::string after_cut(const FaultyFileOps& ops, test::Survival survival) {
    const std::string target = dir_ / ("cut" + std::to_string(cuts_++));
    ops.power_cut(target, survival);
    return target;
  }
  void put_record() {
    spool::ReceiptRecord record;
    record.peer = kPeer;
    record.fingerprint = std::string(40, 'A');
    record.from = "athena.domain.co.uk";
    record.to = "hub.domain.com";
    record.time = record.received = now_;
    record.parcels.push_back({parcel_, kDigest, spool::ParcelFate::kAccepted, "2.0.0", ""});
    test::spit(str_cat({spool::Paths(root()).inbound_receipts(), "/", make_id(now_).value()}),
               spool::format_receipt_record(record).value());
  }

 private:
  test::TempDir dir_;
  TimePoint now_;
  std::string parcel_;
  std::vector<std::string> items_;
  int cuts_ = 0;
};

Status run(const Scenario& scenario, os::FileOps& ops, const std::string& root,
           const std::string& parcel) {
  TRY_ASSIGN(const Spool spool, Spool::open(ops, root));
  NoticeStore notices(spool, nullptr);
  SubmitContext context{make_config(root), spool, notices, system_clock()};
  return scenario.work(context, parcel);
}

// Where each item lies, over incoming/ and the parcels of all stages.
std::multiset<std::string> items_found(const Spool& spool) {
  std::multiset<std::string> found;
  const auto add = [&](const std::vector<std::string>& names) {
    found.insert(names.begin(), names.end());
  };
  add(spool.list_incoming(kPeer).value());
  for (const Stage stage : spool::kStages) {
    const auto parcels = spool.list_parcels(kPeer, stage).value();
    for (const std::string& parcel : parcels) {
      add(test::names_in(spool.paths().parcel(kPeer, stage, parcel) + "/items"));
    }
  }
  return found;
}

std::string place_of(const Spool& spool, const std::string& parcel) {
  for (const Stage stage : spool::kStages) {
    if (spool.ops().stat(spool.paths().parcel(kPeer, stage, parcel)).is_ok()) {
      return std::string(spool::stage_name(stage));
    }
  }
  return "gone";
}

void expect_good_end(const Scenario& scenario, const Spooled& spooled, const std::string& root,
                     const std::string& where) {
  FaultyFileOps works(root);  // without faults: only faster than a disk
  const Spool spool = Spool::open(works, root).value();
  const std::multiset<std::string> all(spooled.items().begin(), spooled.items().end());
  ASSERT_TRUE(recover_peer(spool, kPeer).is_ok()) << where;
  const bool acknowledged = std::string_view(scenario.name) == "acknowledge";
  if (!acknowledged || place_of(spool, spooled.parcel()) != "gone") {
    EXPECT_EQ(items_found(spool), all) << where;
  }
  const auto told = test::names_in(spool.paths().notices_ready());
  EXPECT_LE(told.size(), scenario.notices) << where;
  if (place_of(spool, spooled.parcel()) == "failed") {
    EXPECT_EQ(told.size(), scenario.notices) << where;
  }
  for (int again = 0; again < 2; ++again) {
    const Status status = run(scenario, works, root, spooled.parcel());
    EXPECT_TRUE(status.is_ok()) << where << ": " << status.to_string();
  }
  EXPECT_EQ(place_of(spool, spooled.parcel()), scenario.ends_in) << where;
  EXPECT_EQ(test::names_in(spool.paths().notices_ready()).size(), scenario.notices) << where;
  EXPECT_EQ(items_found(spool), acknowledged ? std::multiset<std::string>() : all) << where;
  EXPECT_EQ(test::names_in(spool.paths().inbound_receipts()).size(), 0U) << where;
}

Status review(SubmitContext& context, const std::string& parcel) {
  return review_sent(context, context.config->peers.front(), parcel, {true, false}).status();
}

Status split(SubmitContext& context, const std::string& parcel) {
  TRY(recover_peer(context.spool, kPeer));
  std::optional<crypto::Signer> signer;
  BuildContext build{context.config, context.spool, context.notices, context.clock, signer};
  return split_parcel(build, context.config->peers.front(), parcel).status();
}

const Scenario kScenarios[] = {
    {"resend", [](ParcelState& s, TimePoint now) { s.handed = now - hours(7); }, review, "ready",
     0},
    {"ask",
     [](ParcelState& s, TimePoint now) {
       s.expires = now - hours(1);
       s.resends = 3;
     },
     review, "ready", 0},
    {"acknowledge", [](ParcelState&, TimePoint) {},
     [](SubmitContext& context, const std::string&) { return handle_receipts(context); }, "gone",
     0},
    {"unknown",
     [](ParcelState& s, TimePoint now) {
       s.expires = now - hours(30);
       s.asked = now - hours(30);
     },
     review, "failed", kItems},
    {"split", [](ParcelState& s, TimePoint) { s.splitting = "5.3.4 too big"; }, split, "gone", 0},
};

class ReceiptsCrashTest : public testing::TestWithParam<Scenario> {
 protected:
  static std::unique_ptr<Spooled> begin() {
    auto spooled = std::make_unique<Spooled>(GetParam());
    if (std::string_view(GetParam().name) == "acknowledge") {
      spooled->put_record();
    }
    return spooled;
  }
  static std::uint64_t operations() {
    const auto spooled = begin();
    FaultyFileOps ops(spooled->root());
    const Status status = run(GetParam(), ops, spooled->root(), spooled->parcel());
    EXPECT_TRUE(status.is_ok()) << status.to_string();
    expect_good_end(GetParam(), *spooled, spooled->root(), "undisturbed");
    return ops.calls();
  }
};

TEST_P(ReceiptsCrashTest, EveryOperationIsTheLastBeforeThePowerGoes) {
  const std::uint64_t count = operations();
  ASSERT_GT(count, 10U);
  // What survives takes turns: neighbouring calls leave much the same disk.
  for (std::uint64_t k = 1; k <= count; ++k) {
    const test::Survival survival = test::kSurvivals[k % std::size(test::kSurvivals)];
    const auto spooled = begin();
    FaultyFileOps ops(spooled->root());
    ops.stop_at(k);
    static_cast<void>(run(GetParam(), ops, spooled->root(), spooled->parcel()));
    expect_good_end(GetParam(), *spooled, spooled->after_cut(ops, survival),
                    str_cat({std::to_string(k), " ", ops.trace().at(k - 1)}));
    if (HasFailure()) {
      return;
    }
  }
}

TEST_P(ReceiptsCrashTest, EveryOperationFailsOnce) {
  const std::uint64_t count = operations();
  for (std::uint64_t k = 1; k <= count; ++k) {
    const auto spooled = begin();
    FaultyFileOps ops(spooled->root());
    ops.fail_at(k, k % 2 == 0 ? EIO : ENOSPC);
    static_cast<void>(run(GetParam(), ops, spooled->root(), spooled->parcel()));
    expect_good_end(GetParam(), *spooled, spooled->root(),
                    str_cat({std::to_string(k), " ", ops.trace().at(k - 1)}));
    if (HasFailure()) {
      return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, ReceiptsCrashTest, testing::ValuesIn(kScenarios),
                         [](const auto& c) { return std::string(c.param.name); });

}  // namespace
}  // namespace bsmtp::mda
