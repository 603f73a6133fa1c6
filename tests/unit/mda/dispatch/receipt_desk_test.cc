#include "mda/dispatch/receipt_desk.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/id.h"
#include "common/spool/accepted.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

const std::string kDigest(64, 'a');

// bsmtp-in accepted a parcel, and at once met a copy that it called expired. The desk looks at
// accepted/ every two seconds only.
TEST(ReceiptDeskTest, WhatWasAcceptedAMomentAgoIsNotBuried) {
  const test::TempDir dir;
  const std::string root = dir.path() + "/spool";
  std::filesystem::create_directory(root);
  ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), root, {"remote1"}).is_ok());
  const auto spool = spool::Spool::open(os::real_file_ops(), root);
  ASSERT_TRUE(spool.is_ok());
  auto journal = ledger::Journal::open(spool->paths().ledger());
  ASSERT_TRUE(journal.is_ok()) << journal.status().to_string();
  auto config = std::make_shared<config::Config>();
  config::Peer peer;
  peer.name = "remote1";
  peer.host = "athena.domain.co.uk";
  peer.receipts = "yes";
  config->peers.push_back(peer);
  ASSERT_TRUE(config->peers.front().wants_receipts());
  NoticeStore notices(*spool, journal->get());
  ReceiptDesk desk(config, *spool, notices, system_clock(), false, "");
  ASSERT_TRUE(desk.run(**journal).is_ok());  // has looked

  const TimePoint now = system_clock().now();
  spool::AcceptedMeta meta;
  meta.peer = "remote1";
  meta.parcel_id = make_id(now).value();
  meta.digest = kDigest;
  meta.accepted = now;
  meta.expires = now;
  meta.created = now - std::chrono::hours(1);
  meta.peer_host = peer.host;
  meta.receipt = 1;
  spool::AcceptedMessage message;
  message.text_digest = kDigest;
  message.text_bytes = 10;
  message.item_bytes = 40;
  meta.messages.push_back(message);
  const auto text = spool::format_accepted_meta(meta);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  const std::string place = spool->paths().accepted() + "/remote1." + meta.parcel_id;
  std::filesystem::create_directory(place);
  test::spit(place + "/" + std::string(spool::kAcceptedMetaName), *text);
  spool::AskedRecord asked;
  asked.peer = "remote1";
  asked.answer = {meta.parcel_id, kDigest, spool::ParcelFate::kExpired, "5.4.7", "too late"};
  asked.expires = now;
  asked.received = now;
  const auto record = spool::format_asked_record(asked);
  ASSERT_TRUE(record.is_ok()) << record.status().to_string();
  test::spit(spool->paths().inbound_asked() + "/" +
                 spool::asked_record_name("remote1", meta.parcel_id, "0123456789abcdef"),
             *record);

  const auto ran = desk.run(**journal);
  EXPECT_TRUE(ran.is_ok()) << ran.status().to_string();
  EXPECT_TRUE((*journal)
                  ->run([&](ledger::Ledger& ledger) {
                    TRY_ASSIGN(const auto buried, ledger.find_tombstone("remote1", meta.parcel_id));
                    EXPECT_FALSE(buried.has_value());
                    TRY_ASSIGN(const auto due, ledger.receipts_due("remote1", 10));
                    EXPECT_EQ(due.size(), 1U);
                    EXPECT_EQ(due.at(0).answer.fate, spool::ParcelFate::kAccepted);
                    return Status::ok();
                  })
                  .is_ok());
}

}  // namespace
}  // namespace bsmtp::mda
