// A peer's receipt, and its question about a parcel, under faults: every file call of keeping them
// fails, or is the last one before the process dies or the power goes. What was answered with
// success can be read afterwards; what can be seen is whole; a repeat leaves one record. Also when
// the directories do not exist yet: the spool of an earlier release.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "common/base/text.h"
#include "common/spool/spool.h"
#include "mda/receive/answers.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Spool;
using test::FaultyFileOps;
using test::Survival;

const std::string kId(44, 'a');

parcel::OpenedReceipt make_receipt() {
  parcel::OpenedReceipt receipt;
  receipt.peer = "remote1";
  receipt.fingerprint = std::string(40, 'A');
  receipt.digest = std::string(64, 'b');
  receipt.facts.from = "hub.domain.com";
  receipt.facts.to = "athena.domain.co.uk";
  receipt.facts.time = system_clock().now();
  receipt.facts.answers.push_back(
      {kId, std::string(64, 'c'), spool::ParcelFate::kAccepted, "2.0.0", ""});
  return receipt;
}

Status keep(const Spool& spool, bool question) {
  if (!question) {
    return keep_receipt(spool, make_receipt(), "4X1", system_clock().now()).status();
  }
  parcel::Manifest manifest;
  manifest.id = kId;
  manifest.receipt = parcel::Receipt::kWanted;
  manifest.expires = system_clock().now() + std::chrono::hours(24);
  Question about;
  about.peer = "remote1";
  about.manifest = &manifest;
  about.digest = std::string(64, 'c');
  about.fate = spool::ParcelFate::kExpired;
  about.code = "5.4.7";
  about.reason = "came too late";
  about.now = system_clock().now();
  return keep_question(spool, about);
}

// How many records there are; each must be one.
std::size_t records(const std::string& root, bool question) {
  const std::string directory = root + (question ? "/inbound/asked" : "/inbound/receipts");
  if (!std::filesystem::exists(directory)) {
    return 0;
  }
  const auto names = test::names_in(directory);
  for (const std::string& name : names) {
    const std::string file = str_cat({directory, "/", name});
    const std::string text = test::slurp(file);
    const Status status = question ? spool::parse_asked_record(text, file).status()
                                   : spool::parse_receipt_record(text, file).status();
    EXPECT_TRUE(status.is_ok()) << status.text();
  }
  return names.size();
}

class AnswersCrash : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  bool question() const { return std::get<0>(GetParam()); }

  // A fresh spool, as this release makes it or as an earlier one did.
  std::string fresh() {
    const std::string root = dir_ / ("spool" + std::to_string(made_++));
    FaultyFileOps ops(dir_.path());  // without faults: only faster than a disk
    EXPECT_TRUE(Spool::create_layout(ops, root, {"remote1"}).is_ok());
    if (std::get<1>(GetParam())) {
      std::filesystem::remove(root + "/inbound/asked");
      std::filesystem::remove(root + "/inbound/receipts");
    }
    return root;
  }
  Status run(FaultyFileOps& ops, const std::string& root) const {
    TRY_ASSIGN(const Spool spool, Spool::open(ops, root));
    return keep(spool, question());
  }
  std::uint64_t calls() {
    const std::string root = fresh();
    FaultyFileOps ops(root);
    const Status status = run(ops, root);
    EXPECT_TRUE(status.is_ok()) << status.text();
    EXPECT_EQ(records(root, question()), 1U);
    return ops.calls();
  }
  void expect_kept(const FaultyFileOps& ops, const Status& status, std::uint64_t n) {
    for (const Survival survival : test::kSurvivals) {
      SCOPED_TRACE(str_cat({"call ", std::to_string(n), " of ", ops.trace().back(), ", survival ",
                            std::to_string(static_cast<int>(survival))}));
      const std::string disk = dir_ / ("cut" + std::to_string(made_++));
      ops.power_cut(disk, survival);
      const std::size_t there = records(disk, question());
      if (status.is_ok()) {
        EXPECT_EQ(there, 1U) << "acknowledged and lost";
      } else {
        EXPECT_TRUE(status.is_temporary()) << status.text();
        EXPECT_LE(there, 1U);
      }
      FaultyFileOps whole(disk);
      EXPECT_TRUE(run(whole, disk).is_ok());
      EXPECT_EQ(records(disk, question()), 1U) << "after the repeat";
    }
  }

 private:
  test::TempDir dir_;
  int made_ = 0;
};

TEST_P(AnswersCrash, DeathAtEveryCallLosesNothingThatWasAcknowledged) {
  const std::uint64_t total = calls();
  ASSERT_GT(total, 5U);
  for (std::uint64_t n = 1; n <= total + 1; ++n) {
    const std::string root = fresh();
    FaultyFileOps ops(root);
    ops.stop_at(n);
    const Status status = run(ops, root);
    expect_kept(ops, status, n);
  }
}

TEST_P(AnswersCrash, OneFailingCallIsTemporaryOrHarmless) {
  const std::uint64_t total = calls();
  for (std::uint64_t n = 1; n <= total; ++n) {
    const std::string root = fresh();
    FaultyFileOps ops(root);
    ops.fail_at(n, n % 2 == 0 ? EIO : ENOSPC);
    const Status status = run(ops, root);
    expect_kept(ops, status, n);
  }
}

INSTANTIATE_TEST_SUITE_P(Records, AnswersCrash, testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& c) {
                           return std::string(std::get<0>(c.param) ? "Question" : "Receipt") +
                                  (std::get<1>(c.param) ? "WithoutDirectory" : "");
                         });

}  // namespace
}  // namespace bsmtp::mda
