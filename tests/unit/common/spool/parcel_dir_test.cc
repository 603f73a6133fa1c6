#include "common/spool/parcel_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/id.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

using test::TempDir;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kPeer = "remote1";

struct Desk {
  Desk() : root(dir / "spool"), ops(dir.path()) {
    EXPECT_TRUE(Spool::create_layout(ops, root, {kPeer}).is_ok());
    spool.emplace(std::move(Spool::open(ops, root)).value());
  }
  std::string put_item(int second) {
    const std::string id = *make_id(TimePoint(std::chrono::seconds(second)));
    test::spit(spool->paths().item(kPeer, id), id);
    return id;
  }
  ParcelDir create() {
    const auto lock = spool->lock_peer(kPeer);
    return std::move(ParcelDir::create(*spool, *lock, *make_id(system_clock().now()))).value();
  }
  Status commit(ParcelDir& parcel, std::string_view entity = "entity") {
    TRY_ASSIGN(os::File file, parcel.create_entity());
    TRY(ops.write(file, entity));
    Fields state;
    state.set("token", "t0ken");
    return parcel.commit(std::move(file), state);
  }
  std::vector<std::string> incoming() const { return *spool->list_incoming(kPeer); }
  std::vector<std::string> parcels(Stage stage) const { return *spool->list_parcels(kPeer, stage); }

  TempDir dir;
  std::string root;
  test::FaultyFileOps ops;
  std::optional<Spool> spool;
};

TEST(ParcelDir, LivesFromItemsToRemoval) {
  Desk desk;
  const auto first = desk.put_item(1000);
  const auto second = desk.put_item(2000);
  const auto stays = desk.put_item(3000);
  ParcelDir parcel = desk.create();
  EXPECT_TRUE(*parcel.take_item(second));
  EXPECT_TRUE(*parcel.take_item(first));
  EXPECT_THAT(*parcel.items(), ElementsAre(first, second));
  EXPECT_THAT(desk.incoming(), ElementsAre(stays));
  ASSERT_TRUE(desk.commit(parcel).is_ok());
  EXPECT_EQ(parcel.stage(), Stage::kReady);
  EXPECT_THAT(desk.parcels(Stage::kReady), ElementsAre(parcel.id()));
  EXPECT_THAT(desk.parcels(Stage::kBuilding), IsEmpty());
  EXPECT_EQ(test::slurp(parcel.entity_path()), "entity");
  EXPECT_EQ(test::slurp(parcel.item_path(first)), first);
  EXPECT_EQ(parcel.read_state()->get("token"), "t0ken");

  auto state = *parcel.read_state();
  state.set_number("attempts", 1);
  ASSERT_TRUE(parcel.write_state(state).is_ok());
  ASSERT_TRUE(parcel.move_to(Stage::kSent).is_ok());
  EXPECT_EQ(
      ParcelDir::peek_state(*desk.spool, kPeer, Stage::kSent, parcel.id())->get_number("attempts"),
      1U);
  ASSERT_TRUE(parcel.remove().is_ok());
  EXPECT_THAT(desk.parcels(Stage::kSent), IsEmpty());
  EXPECT_THAT(test::names_in(desk.spool->paths().tmp(kPeer)), IsEmpty());
  EXPECT_THAT(desk.incoming(), ElementsAre(stays));
}

TEST(ParcelDir, AnItemGoneMeansSomeoneElseHasIt) {
  Desk desk;
  const auto id = desk.put_item(1000);
  ParcelDir one = desk.create();
  ParcelDir two = desk.create();
  EXPECT_TRUE(*one.take_item(id));
  EXPECT_FALSE(*two.take_item(id));
}

TEST(ParcelDir, IsClaimedByOneAtATime) {
  Desk desk;
  desk.put_item(1000);
  std::string id;
  {
    ParcelDir parcel = desk.create();
    ASSERT_TRUE(desk.commit(parcel).is_ok());
    id = parcel.id();
    EXPECT_FALSE(ParcelDir::claim(*desk.spool, kPeer, Stage::kReady, id)->has_value());
  }
  auto claimed = ParcelDir::claim(*desk.spool, kPeer, Stage::kReady, id);
  ASSERT_TRUE(claimed.is_ok() && claimed->has_value());
  EXPECT_FALSE(ParcelDir::claim(*desk.spool, kPeer, Stage::kReady, id)->has_value());
  EXPECT_FALSE(ParcelDir::claim(*desk.spool, kPeer, Stage::kSent, id)->has_value());
  ASSERT_TRUE((*claimed)->move_to(Stage::kHeld).is_ok());
  EXPECT_FALSE(ParcelDir::claim(*desk.spool, kPeer, Stage::kReady, id)->has_value());
}

TEST(ParcelDir, AnEntityIsStartedAnewNotAppended) {
  Desk desk;
  ParcelDir parcel = desk.create();
  {
    auto half = parcel.create_entity();
    ASSERT_TRUE(desk.ops.write(*half, "half of an attempt that failed").is_ok());
  }
  ASSERT_TRUE(desk.commit(parcel, "whole").is_ok());
  auto file = parcel.open_entity();
  ASSERT_TRUE(file.is_ok());
  EXPECT_EQ(desk.ops.stat(*file)->size, 5U);
}

TEST(ParcelDir, GivesItemsBackOneOrAll) {
  Desk desk;
  const auto first = desk.put_item(1000);
  const auto second = desk.put_item(2000);
  ParcelDir parcel = desk.create();
  ASSERT_TRUE(*parcel.take_item(first));
  ASSERT_TRUE(*parcel.take_item(second));
  ASSERT_TRUE(parcel.return_item(second).is_ok());
  EXPECT_THAT(desk.incoming(), ElementsAre(second));
  ASSERT_TRUE(parcel.abandon().is_ok());
  EXPECT_THAT(desk.incoming(), ElementsAre(first, second));
  EXPECT_THAT(desk.parcels(Stage::kBuilding), IsEmpty());
}

TEST(ParcelDir, SetsABrokenItemAside) {
  Desk desk;
  const auto bad = desk.put_item(1000);
  ParcelDir parcel = desk.create();
  ASSERT_TRUE(*parcel.take_item(bad));
  ASSERT_TRUE(parcel.set_item_aside(bad).is_ok());
  EXPECT_THAT(*parcel.items(), IsEmpty());
  EXPECT_EQ(test::slurp(desk.spool->paths().stage(kPeer, Stage::kHeld) + "/" + bad + ".item"), bad);
  EXPECT_THAT(desk.parcels(Stage::kHeld), IsEmpty());
}

TEST(Recovery, TakesBackOnlyWhatNobodyHolds) {
  Desk desk;
  const auto abandoned = desk.put_item(1000);
  const auto held = desk.put_item(2000);
  {
    ParcelDir dead = desk.create();
    ASSERT_TRUE(*dead.take_item(abandoned));
  }
  ParcelDir alive = desk.create();
  ASSERT_TRUE(*alive.take_item(held));
  EXPECT_EQ(*recover_building(*desk.spool, kPeer), 1U);
  EXPECT_THAT(desk.incoming(), ElementsAre(abandoned));
  EXPECT_THAT(*alive.items(), ElementsAre(held));
  EXPECT_EQ(*recover_building(*desk.spool, kPeer), 0U);
}

TEST(Recovery, AcceptsAParcelThatDiedBeforeItsItemsDirectory) {
  Desk desk;
  const std::string id = *make_id(system_clock().now());
  ASSERT_TRUE(
      desk.ops.mkdir(desk.spool->paths().parcel(kPeer, Stage::kBuilding, id), 0770).is_ok());
  EXPECT_EQ(*recover_building(*desk.spool, kPeer), 1U);
  EXPECT_THAT(desk.parcels(Stage::kBuilding), IsEmpty());
}

}  // namespace
}  // namespace bsmtp::spool
