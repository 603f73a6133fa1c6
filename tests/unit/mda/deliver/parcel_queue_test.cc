#include "mda/deliver/parcel_queue.h"

#include <gtest/gtest.h>

#include "common/base/id.h"
#include "common/os/file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

std::string name(const std::string& peer, int n) {
  return peer + "." + make_id(TimePoint(std::chrono::seconds(n))).value();
}

TEST(ParcelQueueTest, PeersTakeTurnsAndLoadingIsBounded) {
  ParcelQueue queue;
  queue.add({name("a", 1), name("a", 2), name("a", 3), name("b", 1)});
  std::vector<std::string> peers;
  while (auto job = queue.next(ParcelQueue::Wait::kNo)) {
    peers.push_back(job->name.substr(0, 1));
  }
  EXPECT_EQ(peers, (std::vector<std::string>{"a", "b", "a"})) << "two of a are open, one waits";
}

TEST(ParcelQueueTest, NamesAreTakenOnceUntilForgotten) {
  ParcelQueue queue;
  const std::string one = name("a", 1);
  queue.add({one, one});
  queue.add({one});
  EXPECT_TRUE(queue.next(ParcelQueue::Wait::kNo));
  EXPECT_FALSE(queue.next(ParcelQueue::Wait::kNo));
  EXPECT_FALSE(queue.idle());
  queue.forget(one);
  EXPECT_TRUE(queue.idle());
  queue.add({one});
  EXPECT_TRUE(queue.next(ParcelQueue::Wait::kNo));
}

TEST(ParcelQueueTest, PauseHoldsEverythingBack) {
  ParcelQueue queue;
  queue.add({name("a", 1)});
  queue.pause(TimePoint());
  EXPECT_FALSE(queue.next(ParcelQueue::Wait::kNo));
  EXPECT_TRUE(queue.idle());
  queue.resume();
  EXPECT_TRUE(queue.next(ParcelQueue::Wait::kNo));
}

TEST(ParcelQueueTest, KeysUnderWayAreOwnedOnce) {
  ParcelQueue queue;
  EXPECT_TRUE(queue.own_keys("a", {"k1", "k2"}));
  EXPECT_FALSE(queue.own_keys("a", {"k3", "k2"}));
  EXPECT_TRUE(queue.own_keys("a", {"k3"})) << "a refused call owns nothing";
  EXPECT_TRUE(queue.own_keys("b", {"k2"}));
  queue.release_keys("a", {"k1", "k2"});
  EXPECT_TRUE(queue.own_keys("a", {"k2"}));
}

}  // namespace
}  // namespace bsmtp::mda
