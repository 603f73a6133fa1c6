#include "mda/notice/store.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using Start = NoticeStore::Start;

class NoticeStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), root_, {"remote1"}).is_ok());
    spool_.emplace(spool::Spool::open(os::real_file_ops(), root_).value());
    journal_ = ledger::Journal::open(spool_->paths().ledger()).value();
    store_ = std::make_unique<NoticeStore>(*spool_, journal_.get());
    ASSERT_TRUE(put().is_ok());
  }

  Status put() {
    mail::Envelope envelope;
    mail::Recipient recipient;
    recipient.address = "ann@domain.com";
    envelope.recipients.push_back(recipient);
    return store_->put(id_, envelope, "Subject: x\r\n\r\ny\r\n", "failure", "parcel");
  }
  Start begin() { return store_->begin(id_, now_).value(); }

  test::TempDir dir_;
  std::string root_ = dir_ / "spool";
  std::optional<spool::Spool> spool_;
  std::unique_ptr<ledger::Journal> journal_;
  std::unique_ptr<NoticeStore> store_;
  const std::string id_ = notice_id({"parcel", "1", "ann@domain.com", "failure"});
  const TimePoint now_ = system_clock().now();
};

TEST_F(NoticeStoreTest, AnAttemptWhoseEndWasNotNotedIsInDoubt) {
  EXPECT_EQ(begin(), Start::kSend);
  EXPECT_EQ(begin(), Start::kSendAgain);
  ASSERT_TRUE(store_->not_sent(id_).is_ok());
  EXPECT_EQ(begin(), Start::kSend);
}

TEST_F(NoticeStoreTest, WhatWasSentIsNeitherSentNorWrittenAgain) {
  EXPECT_EQ(begin(), Start::kSend);
  ASSERT_TRUE(store_->done(id_, now_ + std::chrono::hours(1)).is_ok());
  EXPECT_TRUE(store_->waiting().value().empty());
  EXPECT_EQ(begin(), Start::kSent);
  ASSERT_TRUE(put().is_ok());
  EXPECT_TRUE(store_->waiting().value().empty());
}

TEST_F(NoticeStoreTest, WithoutALedgerItIsSent) {
  store_->use_journal(nullptr);
  EXPECT_EQ(begin(), Start::kSend);
  EXPECT_TRUE(store_->not_sent(id_).is_ok());
  EXPECT_TRUE(store_->done(id_, now_).is_ok());
  EXPECT_TRUE(store_->waiting().value().empty());
}

}  // namespace
}  // namespace bsmtp::mda
