// Every system call of the spool fails once, and every one is once the last before the power
// goes. Promises held to: what was acknowledged is there, whole and once; what was not is there
// whole or not at all; a parcel in ready/ or later is complete; no item is ever in neither place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/spool/item.h"
#include "common/spool/parcel_dir.h"
#include "common/spool/spool.h"
#include "mda/enqueue/enqueue.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp {
namespace {

using spool::ItemReader;
using spool::ParcelDir;
using spool::Spool;
using spool::Stage;
using test::FaultyFileOps;
using test::Survival;
using test::TempDir;

constexpr const char* kPeer = "remote1";
constexpr const char* kMessage = "Received: a\nSubject: crash\n\n.dot\nbody";
constexpr const char* kText = "Received: a\r\nSubject: crash\r\n\r\n..dot\r\nbody\r\n";

// A fresh spool in its own directory, and the disks that power cuts leave.
class Bench {
 public:
  Bench() : root_(dir_ / "spool") {
    FaultyFileOps ops(dir_.path());  // without faults: only faster than a disk
    EXPECT_TRUE(Spool::create_layout(ops, root_, {kPeer}).is_ok());
  }
  const std::string& root() const { return root_; }
  std::string after_cut(const FaultyFileOps& ops, Survival survival) {
    const std::string target = dir_ / ("cut" + std::to_string(cuts_++));
    ops.power_cut(target, survival);
    return target;
  }

 private:
  TempDir dir_;
  std::string root_;
  int cuts_ = 0;
};

std::string read_text(const std::string& path) {
  const auto item = ItemReader::open(os::real_file_ops(), path);
  if (!item.is_ok()) {
    return "BROKEN: " + item.status().to_string();
  }
  StringSink sink;
  const auto source = item->stuffed_text();
  EXPECT_TRUE(copy(*source, sink).is_ok());
  return sink.take();
}

std::vector<std::string> items_in(const std::string& root) {
  const spool::Paths paths(root);
  std::vector<std::string> texts;
  for (const auto& name : test::names_in(paths.incoming(kPeer))) {
    texts.push_back(read_text(paths.item(kPeer, name)));
  }
  return texts;
}

Status enqueue_one(FaultyFileOps& ops, const std::string& root) {
  config::Config config;
  config.host = "hub.domain.com";
  config.spool_directory = root;
  config.free_percent_enqueue = 0;
  config::Peer peer;
  peer.name = kPeer;
  config.peers.push_back(peer);
  mda::EnqueueRequest request;
  request.peer = kPeer;
  request.sender = "alice@domain.com";
  request.recipients = {"user@domain.co.uk"};
  StringSource message(kMessage);
  mda::EnqueueHooks hooks;
  hooks.ops = &ops;
  return mda::enqueue(config, request, message, hooks);
}

std::uint64_t calls_of_enqueue() {
  Bench bench;
  FaultyFileOps ops(bench.root());
  EXPECT_TRUE(enqueue_one(ops, bench.root()).is_ok());
  return ops.calls();
}

TEST(EnqueueCrash, CountsTheMinimumOfDurableCalls) {
  Bench bench;
  FaultyFileOps ops(bench.root());
  ASSERT_TRUE(enqueue_one(ops, bench.root()).is_ok());
  EXPECT_EQ(ops.count("create"), 1U);
  EXPECT_EQ(ops.count("write"), 1U);
  EXPECT_EQ(ops.count("fsync"), 1U);
  EXPECT_EQ(ops.count("rename"), 1U);
  EXPECT_EQ(ops.count("fsync_dir"), 1U);
  EXPECT_EQ(ops.count("unlink"), 0U);
}

TEST(EnqueueCrash, AcknowledgedMeansWholeOnEveryDisk) {
  Bench bench;
  FaultyFileOps ops(bench.root());
  ASSERT_TRUE(enqueue_one(ops, bench.root()).is_ok());
  for (const Survival survival : test::kSurvivals) {
    EXPECT_THAT(items_in(bench.after_cut(ops, survival)), testing::ElementsAre(kText));
  }
}

TEST(EnqueueCrash, OneFailedCallMeansNothingWasTaken) {
  const std::uint64_t total = calls_of_enqueue();
  ASSERT_GT(total, 8U);
  for (const int error : {EIO, ENOSPC, EACCES}) {
    for (std::uint64_t n = 1; n <= total; ++n) {
      Bench bench;
      FaultyFileOps ops(bench.root());
      ops.fail_at(n, error);
      const Status status = enqueue_one(ops, bench.root());
      const std::string where = ops.trace().at(n - 1);
      ASSERT_TRUE(status.is_temporary()) << where << ": " << status.to_string();
      EXPECT_THAT(items_in(bench.root()), testing::IsEmpty()) << where;
      EXPECT_THAT(test::names_in(spool::Paths(bench.root()).tmp(kPeer)), testing::IsEmpty())
          << where;
    }
  }
}

TEST(EnqueueCrash, DeathAtAnyCallLeavesWholeOrNothing) {
  const std::uint64_t total = calls_of_enqueue();
  for (std::uint64_t n = 1; n <= total; ++n) {
    Bench bench;
    FaultyFileOps ops(bench.root());
    ops.stop_at(n);
    ASSERT_FALSE(enqueue_one(ops, bench.root()).is_ok());
    for (const Survival survival : test::kSurvivals) {
      const auto items = items_in(bench.after_cut(ops, survival));
      ASSERT_LE(items.size(), 1U);
      for (const auto& text : items) {
        EXPECT_EQ(text, kText) << ops.trace().at(n - 1);
      }
    }
  }
}

// --- parcels -----------------------------------------------------------------------------------

constexpr const char* kEntity = "Content-Type: multipart/signed\r\n\r\nentity\r\n";

struct Life {
  bool committed = false;  // commit() said ok
  bool sent = false;
  bool removing = false;
  std::string parcel;
  Status status;
};

std::vector<std::string> put_items(const std::string& root, int count) {
  std::vector<std::string> ids;
  const spool::Paths paths(root);
  for (int i = 0; i < count; ++i) {
    ids.push_back(*make_id(system_clock().now()));
    test::spit(paths.item(kPeer, ids.back()),
               str_cat({"MAIL FROM:<>\r\nRCPT TO:<u@x>\r\nDATA\r\n", ids.back(), "\r\n.\r\n"}));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// What the dispatcher does with a batch, up to its removal.
Status live(FaultyFileOps& ops, const std::string& root, Life& life) {
  TRY_ASSIGN(const Spool spool, Spool::open(ops, root));
  TRY_ASSIGN(life.parcel, make_id(system_clock().now()));
  std::optional<ParcelDir> parcel;
  {
    TRY_ASSIGN(const auto lock, spool.lock_peer(kPeer));
    TRY_ASSIGN(const auto ids, spool.list_incoming(kPeer));
    TRY_ASSIGN(auto created, ParcelDir::create(spool, lock, life.parcel));
    parcel.emplace(std::move(created));
    for (const auto& id : ids) {
      TRY(parcel->take_item(id).status());
    }
  }
  TRY_ASSIGN(os::File entity, parcel->create_entity());
  TRY(ops.write(entity, kEntity));
  spool::Fields state;
  state.set("token", "abc");
  TRY(parcel->commit(std::move(entity), state));
  life.committed = true;
  state.set_number("attempts", 1);
  TRY(parcel->write_state(state));
  TRY(parcel->move_to(Stage::kSent));
  life.sent = true;
  life.removing = true;
  return parcel->remove();
}

// All places an item is in after recovery.
struct Whereabouts {
  int incoming = 0;
  int parcels = 0;  // in ready/ or later
};

Whereabouts find_item(const Spool& spool, const std::string& id) {
  Whereabouts out;
  const auto holds = [&](const std::string& path) {
    const auto there = os::exists(os::real_file_ops(), path);
    return there.is_ok() && *there && read_text(path) == id + "\r\n";
  };
  out.incoming = holds(spool.paths().item(kPeer, id)) ? 1 : 0;
  for (const Stage stage : {Stage::kReady, Stage::kSent}) {
    const auto parcels = spool.list_parcels(kPeer, stage);
    for (const auto& parcel : *parcels) {
      out.parcels += holds(spool.paths().parcel(kPeer, stage, parcel) + "/items/" + id) ? 1 : 0;
    }
  }
  return out;
}

void expect_parcels_complete(const Spool& spool, const std::string& where) {
  for (const Stage stage : {Stage::kReady, Stage::kSent}) {
    const auto parcels = spool.list_parcels(kPeer, stage);
    for (const auto& id : *parcels) {
      EXPECT_EQ(test::slurp(spool.paths().parcel(kPeer, stage, id) + "/entity"), kEntity) << where;
      const auto state = ParcelDir::peek_state(spool, kPeer, stage, id);
      ASSERT_TRUE(state.is_ok()) << where << ": " << state.status().to_string();
      EXPECT_EQ(state->get("token"), "abc") << where;
    }
  }
}

void expect_promises(const std::string& root, const std::vector<std::string>& ids, const Life& life,
                     const std::string& where) {
  FaultyFileOps ops(root);
  const auto spool = Spool::open(ops, root);
  ASSERT_TRUE(spool.is_ok()) << where;
  const auto undone = spool::recover_building(*spool, kPeer);
  ASSERT_TRUE(undone.is_ok()) << where << ": " << undone.status().to_string();
  expect_parcels_complete(*spool, where);
  for (const auto& id : ids) {
    const Whereabouts at = find_item(*spool, id);
    if (!life.removing) {
      EXPECT_GE(at.incoming + at.parcels, 1) << "lost, " << where;
    }
    EXPECT_LE(at.incoming + at.parcels, 1) << "twice, " << where;
    if (life.committed) {
      EXPECT_EQ(at.incoming, 0) << "would be sent again, " << where;
    }
  }
  const auto again = spool::recover_building(*spool, kPeer);
  EXPECT_TRUE(again.is_ok() && *again == 0) << where;
}

std::uint64_t calls_of_life() {
  Bench bench;
  put_items(bench.root(), 3);
  FaultyFileOps ops(bench.root());
  Life life;
  const Status status = live(ops, bench.root(), life);
  EXPECT_TRUE(status.is_ok()) << status.to_string();
  return ops.calls();
}

TEST(ParcelCrash, DeathAtAnyCallLosesAndDoublesNothing) {
  const std::uint64_t total = calls_of_life();
  ASSERT_GT(total, 30U);
  for (std::uint64_t n = 1; n <= total; ++n) {
    for (const Survival survival : test::kSurvivals) {
      Bench bench;
      const auto ids = put_items(bench.root(), 3);
      FaultyFileOps ops(bench.root());
      ops.stop_at(n);
      Life life;
      ASSERT_FALSE(live(ops, bench.root(), life).is_ok());
      expect_promises(bench.after_cut(ops, survival), ids, life, ops.trace().at(n - 1));
    }
  }
}

TEST(ParcelCrash, OneFailedCallLosesAndDoublesNothing) {
  const std::uint64_t total = calls_of_life();
  for (std::uint64_t n = 1; n <= total; ++n) {
    Bench bench;
    const auto ids = put_items(bench.root(), 3);
    FaultyFileOps ops(bench.root());
    ops.fail_at(n, EIO);
    Life life;
    static_cast<void>(live(ops, bench.root(), life));
    for (const Survival survival : test::kSurvivals) {
      expect_promises(bench.after_cut(ops, survival), ids, life, ops.trace().at(n - 1));
    }
  }
}

TEST(ParcelCrash, DeathDuringRecoveryIsRecoveredFrom) {
  for (std::uint64_t n = 1; n < 60; ++n) {
    for (const Survival survival : test::kSurvivals) {
      Bench bench;
      const auto ids = put_items(bench.root(), 3);
      {
        FaultyFileOps whole(bench.root());
        const auto spool = Spool::open(whole, bench.root());
        const auto lock = spool->lock_peer(kPeer);
        auto parcel = ParcelDir::create(*spool, *lock, *make_id(system_clock().now()));
        ASSERT_TRUE(parcel.is_ok());
        for (const auto& id : ids) {
          ASSERT_TRUE(parcel->take_item(id).is_ok());
        }
      }
      FaultyFileOps ops(bench.root());
      ops.stop_at(n);
      const auto spool = Spool::open(ops, bench.root());
      if (spool.is_ok()) {
        static_cast<void>(spool::recover_building(*spool, kPeer));
      }
      expect_promises(bench.after_cut(ops, survival), ids, Life(), ops.trace().back());
    }
  }
}

}  // namespace
}  // namespace bsmtp
