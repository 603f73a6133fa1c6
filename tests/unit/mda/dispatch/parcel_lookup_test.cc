#include "mda/dispatch/parcel_lookup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/id.h"
#include "common/base/text.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Stage;

constexpr const char* kPeer = "remote1";
constexpr int kMany = 100;

class TokenIndexTest : public testing::Test {
 protected:
  TokenIndexTest() : root_(dir_ / "spool"), ops_(dir_.path()) {
    EXPECT_TRUE(spool::Spool::create_layout(ops_, root_, {"other", kPeer}).is_ok());
    spool_.emplace(spool::Spool::open(ops_, root_).value());
  }
  std::string place(Stage stage, const std::string& id) const {
    return spool_->paths().parcel(kPeer, stage, id);
  }
  std::string make_parcel(Stage stage, const std::string& token) {
    const std::string id = make_id(system_clock().now()).value();
    std::filesystem::create_directories(place(stage, id) + "/items");
    test::spit(place(stage, id) + "/state", str_cat({"version: 1\ntoken: ", token, "\n"}));
    return id;
  }
  // The parcel's id and stage, or "".
  std::string find(const std::string& token) {
    const auto found = index_.find(*spool_, token);
    EXPECT_TRUE(found.is_ok()) << found.status().to_string();
    return found.is_ok() && *found
               ? str_cat({(*found)->dir.id(), " ", spool::stage_name((*found)->dir.stage())})
               : "";
  }

  test::TempDir dir_;
  const std::string root_;
  test::FaultyFileOps ops_;
  std::optional<spool::Spool> spool_;
  TokenIndex index_;
};

TEST_F(TokenIndexTest, FindsAParcelWhereverItHasGone) {
  const std::string ready = make_parcel(Stage::kReady, "aa");
  const std::string sent = make_parcel(Stage::kSent, "bb");
  EXPECT_EQ(find("bb"), sent + " sent");
  EXPECT_EQ(find("aa"), ready + " ready");
  EXPECT_EQ(find("cc"), "");
  std::filesystem::rename(place(Stage::kSent, sent), place(Stage::kFailed, sent));
  EXPECT_EQ(find("bb"), sent + " failed");
  const std::string later = make_parcel(Stage::kSent, "cc");
  EXPECT_EQ(find("cc"), later + " sent");
  std::filesystem::remove_all(place(Stage::kSent, later));
  EXPECT_EQ(find("cc"), "");
}

TEST_F(TokenIndexTest, AStateThatCannotBeReadYetIsReadAgain) {
  const std::string id = make_parcel(Stage::kSent, "");
  EXPECT_EQ(find("aa"), "");
  test::spit(place(Stage::kSent, id) + "/state", "version: 1\ntoken: aa\n");
  EXPECT_EQ(find("aa"), id + " sent");
}

TEST_F(TokenIndexTest, ReadsEachParcelOnceHoweverManyBouncesAreMadeUp) {
  for (int n = 0; n < kMany; ++n) {
    make_parcel(Stage::kSent, str_cat({"ab", std::to_string(n)}));
  }
  EXPECT_EQ(find("ff"), "");
  const std::uint64_t before = ops_.calls();
  EXPECT_EQ(find("fe"), "");
  const std::uint64_t listings = ops_.calls() - before;
  EXPECT_LE(listings, 20U);
  make_parcel(Stage::kSent, "abc");
  const std::uint64_t one_more = ops_.calls();
  EXPECT_EQ(find("fd"), "");
  EXPECT_LE(ops_.calls() - one_more, listings + 5) << "only the new one is read";
}

}  // namespace
}  // namespace bsmtp::mda
