#include "mda/deliver/parcel_queue.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

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
  while (auto chore = queue.next_chore(ParcelQueue::Wait::kNo)) {
    peers.push_back(chore->name.substr(0, 1));
  }
  EXPECT_EQ(peers, (std::vector<std::string>{"a", "b", "a"})) << "two of a are open, one waits";
}

TEST(ParcelQueueTest, NamesAreTakenOnceUntilForgotten) {
  ParcelQueue queue;
  const std::string one = name("a", 1);
  queue.add({one, one});
  queue.add({one});
  EXPECT_TRUE(queue.next_chore(ParcelQueue::Wait::kNo));
  EXPECT_FALSE(queue.next_chore(ParcelQueue::Wait::kNo));
  EXPECT_FALSE(queue.idle());
  queue.forget(one);
  EXPECT_TRUE(queue.idle());
  queue.add({one});
  EXPECT_TRUE(queue.next_chore(ParcelQueue::Wait::kNo));
}

TEST(ParcelQueueTest, PauseHoldsEverythingBack) {
  ParcelQueue queue;
  queue.add({name("a", 1)});
  queue.pause(TimePoint());
  EXPECT_FALSE(queue.next_chore(ParcelQueue::Wait::kNo));
  EXPECT_TRUE(queue.idle());
  queue.resume();
  EXPECT_TRUE(queue.next_chore(ParcelQueue::Wait::kNo));
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

// A parcel of three messages, claimed and opened in the queue as the keeper does it.
class OpenedParcel : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(spool::Spool::create_layout(ops_, dir_ / "spool", {"a"}).is_ok());
    spool_.emplace(spool::Spool::open(ops_, dir_ / "spool").value());
    const std::string directory = spool_->paths().accepted() + "/" + name_;
    std::filesystem::create_directory(directory);
    spool::AcceptedMeta meta;
    meta.peer = "a";
    meta.parcel_id = name_.substr(2);
    meta.digest = std::string(64, 'd');
    meta.accepted = TimePoint(std::chrono::seconds(1));
    for (int i = 1; i <= 3; ++i) {
      spool::AcceptedMessage message;
      message.text_digest = std::string(64, 'e');
      message.item_bytes = 14;
      meta.messages.push_back(message);
    }
    test::spit(directory + "/messages", "MAIL FROM:<>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n");
    test::spit(directory + "/meta", spool::format_accepted_meta(meta).value());
    queue_.add({name_});
    ASSERT_TRUE(queue_.next_chore(ParcelQueue::Wait::kNo));
    auto claimed = AcceptedDir::claim(*spool_, name_);
    ASSERT_TRUE(claimed.is_ok() && claimed->has_value()) << claimed.status().to_string();
    auto parcel = std::make_shared<OpenParcel>(std::move(**claimed));
    parcel->todo = {1, 2, 3};
    queue_.opened(name_, std::move(parcel));
  }
  ParcelQueue::Job take() { return queue_.next(ParcelQueue::Wait::kNo).value(); }

  test::TempDir dir_;
  os::FileOps& ops_ = os::real_file_ops();
  std::optional<spool::Spool> spool_;
  const std::string name_ = name("a", 1);
  ParcelQueue queue_;
};

TEST_F(OpenedParcel, IsConcludedAfterItsLastMessageOnly) {
  const auto first = take();
  const auto second = take();
  const auto third = take();
  EXPECT_FALSE(queue_.next(ParcelQueue::Wait::kNo));
  queue_.settled(first, true);
  queue_.settled(third, false);
  EXPECT_FALSE(queue_.next_chore(ParcelQueue::Wait::kNo));
  queue_.give_back(second, true);
  EXPECT_FALSE(queue_.next_chore(ParcelQueue::Wait::kNo));
  queue_.settled(take(), true);
  const auto chore = queue_.next_chore(ParcelQueue::Wait::kNo);
  ASSERT_TRUE(chore && chore->parcel);
  EXPECT_EQ(chore->parcel->finished, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(chore->parcel->unfinished, (std::vector<std::uint64_t>{3}));
  EXPECT_FALSE(queue_.next_chore(ParcelQueue::Wait::kNo)) << "once";
  EXPECT_FALSE(queue_.idle()) << "until the keeper has forgotten it";
  queue_.forget(name_);
  EXPECT_TRUE(queue_.idle());
}

TEST_F(OpenedParcel, TheKeeperEndsWhenAllIsConcluded) {
  queue_.add({name("a", 2)});
  for (int i = 0; i < 3; ++i) {
    queue_.settled(take(), true);
  }
  queue_.stop();
  queue_.close();
  const auto chore = queue_.next_chore(ParcelQueue::Wait::kForever);
  ASSERT_TRUE(chore && chore->parcel) << "what is settled is concluded even when stopping";
  EXPECT_FALSE(queue_.next_chore(ParcelQueue::Wait::kForever)) << "nothing is opened any more";
}

TEST_F(OpenedParcel, TheNextParcelIsLoadedWhileThisOneIsDelivered) {
  const std::string second = name("a", 2);
  queue_.add({second, name("a", 3)});
  const auto chore = queue_.next_chore(ParcelQueue::Wait::kNo);
  ASSERT_TRUE(chore);
  EXPECT_EQ(chore->name, second);
  EXPECT_FALSE(queue_.next_chore(ParcelQueue::Wait::kNo)) << "two of a peer at most";
}

}  // namespace
}  // namespace bsmtp::mda
