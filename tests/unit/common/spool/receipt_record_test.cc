#include "common/spool/receipt_record.h"

#include <gtest/gtest.h>

#include "common/base/text.h"
#include "common/spool/fields.h"
#include "common/spool/spool.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

const std::string kParcel(44, 'a');
const std::string kOtherParcel(44, 'b');
const std::string kDigest(64, 'd');
const TimePoint kTime{std::chrono::seconds(1795310000)};

ReceiptRecord receipt() {
  ReceiptRecord record;
  record.peer = "remote1";
  record.fingerprint = std::string(40, 'F');
  record.from = "athena.domain.co.uk";
  record.to = "hub.domain.com";
  record.time = kTime;
  record.received = kTime + std::chrono::seconds(9);
  record.queue_id = "4cKz1D2x";
  record.parcels.push_back({kParcel, kDigest, ParcelFate::kAccepted, "2.0.0", ""});
  record.parcels.push_back(
      {kOtherParcel, kDigest, ParcelFate::kRejected, "5.6.0", "malformed: no QUIT at the end"});
  return record;
}

AskedRecord asked() {
  AskedRecord record;
  record.peer = "remote1";
  record.answer = {kParcel, kDigest, ParcelFate::kExpired, "5.4.7", "the parcel has expired"};
  record.at_once = true;
  record.expires = kTime;
  record.received = kTime + std::chrono::seconds(60);
  return record;
}

TEST(ReceiptRecordFile, ReadsBackWhatWasWritten) {
  const ReceiptRecord record = receipt();
  const auto text = format_receipt_record(record);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_NE(text->find("parcel.2: " + kOtherParcel + " " + kDigest + " rejected 5.6.0 malformed"),
            std::string::npos)
      << *text;
  const auto read = parse_receipt_record(*text, "f");
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_EQ(read->peer, record.peer);
  EXPECT_EQ(read->fingerprint, record.fingerprint);
  EXPECT_EQ(read->from, record.from);
  EXPECT_EQ(read->to, record.to);
  EXPECT_EQ(read->time, record.time);
  EXPECT_EQ(read->received, record.received);
  EXPECT_EQ(read->queue_id, record.queue_id);
  ASSERT_EQ(read->parcels.size(), 2U);
  EXPECT_EQ(read->parcels[0].text, "");
  EXPECT_EQ(read->parcels[1].parcel_id, kOtherParcel);
  EXPECT_EQ(read->parcels[1].fate, ParcelFate::kRejected);
  EXPECT_EQ(read->parcels[1].text, "malformed: no QUIT at the end");
}

TEST(ReceiptRecordFile, HoldsAsManyParcelsAsAReceiptMayAndNoMore) {
  ReceiptRecord record = receipt();
  record.parcels.clear();
  for (std::size_t i = 0; i < kMaxReceiptParcels; ++i) {
    const std::string number = std::to_string(1000 + i);
    record.parcels.push_back({kParcel.substr(4) + number, kDigest, ParcelFate::kRejected, "5.6.0",
                              std::string(kMaxAnswerText, 'x')});
  }
  const auto text = format_receipt_record(record);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  ASSERT_TRUE(parse_receipt_record(*text, "f").is_ok());
  record.parcels.push_back({kParcel, kDigest, ParcelFate::kAccepted, "2.0.0", ""});
  EXPECT_FALSE(format_receipt_record(record).is_ok());
}

TEST(ReceiptRecordFile, IsNeverWrittenWithWhatWouldNotBeRead) {
  const std::vector<std::pair<const char*, void (*)(ReceiptRecord&)>> faults = {
      {"no parcel", [](ReceiptRecord& r) { r.parcels.clear(); }},
      {"a parcel twice", [](ReceiptRecord& r) { r.parcels[1].parcel_id = kParcel; }},
      {"id too short", [](ReceiptRecord& r) { r.parcels[0].parcel_id.pop_back(); }},
      {"digest in capitals", [](ReceiptRecord& r) { r.parcels[0].digest = std::string(64, 'D'); }},
      {"accepted with a 5.y.z", [](ReceiptRecord& r) { r.parcels[0].code = "5.0.0"; }},
      {"rejected with a 2.y.z", [](ReceiptRecord& r) { r.parcels[1].code = "2.0.0"; }},
      {"rejected for now", [](ReceiptRecord& r) { r.parcels[1].code = "4.3.0"; }},
      {"code of two numbers", [](ReceiptRecord& r) { r.parcels[1].code = "5.6"; }},
      {"code with a letter", [](ReceiptRecord& r) { r.parcels[1].code = "5.6.x"; }},
      {"text too long", [](ReceiptRecord& r) { r.parcels[1].text.assign(501, 'x'); }},
      {"text not ASCII", [](ReceiptRecord& r) { r.parcels[1].text = "\xC3\xA4"; }},
      {"peer in capitals", [](ReceiptRecord& r) { r.peer = "Remote1"; }},
      {"no key", [](ReceiptRecord& r) { r.fingerprint.clear(); }},
      {"host with a blank", [](ReceiptRecord& r) { r.from = "a b"; }},
      {"host too long", [](ReceiptRecord& r) { r.to.assign(254, 'h'); }},
  };
  for (const auto& [name, spoil] : faults) {
    SCOPED_TRACE(name);
    ReceiptRecord record = receipt();
    spoil(record);
    const auto text = format_receipt_record(record);
    ASSERT_FALSE(text.is_ok());
    EXPECT_FALSE(text.status().is_permanent());
  }
}

TEST(ReceiptRecordFile, RefusesParcelsOutOfOrderAndMissingTimes) {
  const std::string good = *format_receipt_record(receipt());
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"parcel.2: ", "parcel.3: "},
                                                        {"parcel.1: ", "parcel.01: "},
                                                        {"time: ", "tame: "},
                                                        {"received: 2", "received: x2"},
                                                        {"accepted 2", "taken 2"},
                                                        {"version: 1", "version: 2"}}) {
    SCOPED_TRACE(from);
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(), to);
    const auto read = parse_receipt_record(text, "the-file");
    ASSERT_FALSE(read.is_ok());
    EXPECT_NE(read.status().text().find("the-file"), std::string::npos);
  }
  EXPECT_FALSE(parse_receipt_record(good.substr(0, good.size() - 1), "f").is_ok());
  EXPECT_FALSE(parse_receipt_record("", "f").is_ok());
}

TEST(AskedRecordFile, ReadsBackWhatWasWritten) {
  const AskedRecord record = asked();
  const auto text = format_asked_record(record);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  const auto read = parse_asked_record(*text, "f");
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_EQ(read->peer, record.peer);
  EXPECT_EQ(read->answer.parcel_id, kParcel);
  EXPECT_EQ(read->answer.digest, kDigest);
  EXPECT_EQ(read->answer.fate, ParcelFate::kExpired);
  EXPECT_EQ(read->answer.code, "5.4.7");
  EXPECT_EQ(read->answer.text, "the parcel has expired");
  EXPECT_TRUE(read->at_once);
  EXPECT_EQ(read->expires, record.expires);
  EXPECT_EQ(read->received, record.received);
}

TEST(AskedRecordFile, RefusesWhatIsMalformed) {
  const std::string good = *format_asked_record(asked());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"wanted: 2", "wanted: 3"},
           {"wanted: 2", "wanted: 0"},
           {"state: expired", "state: accepted"},  // with a 5.y.z
           {"state: expired", "state: lost"},
           {"expires: ", "expired: "},
           {"parcel: a", "parcel: A"},
           {"peer: remote1", "peer: "}}) {
    SCOPED_TRACE(to);
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(), to);
    EXPECT_FALSE(parse_asked_record(text, "f").is_ok());
  }
}

TEST(AskedRecordFile, NamesAreTakenApartStrictly) {
  const std::string name = asked_record_name("remote1", kParcel, "0123abcd");
  const auto parts = parse_asked_record_name(name);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->peer, "remote1");
  EXPECT_EQ(parts->parcel_id, kParcel);
  for (const std::string& bad :
       {std::string(".."), "remote1." + kParcel, "remote1." + kParcel + ".",
        "remote1." + kParcel + ".xyz", "Remote1." + kParcel + ".01", name + ".tmp",
        std::string("remote1.abc.01"), std::string()}) {
    EXPECT_FALSE(parse_asked_record_name(bad)) << bad;
  }
}

TEST(AskedRecordFile, ASpoolOfAnEarlierReleaseGetsTheDirectories) {
  const test::TempDir dir;
  os::FileOps& ops = os::real_file_ops();
  const std::string root = dir.path() + "/spool";
  ASSERT_TRUE(Spool::create_layout(ops, root, {"remote1"}).is_ok());
  const Paths paths(root);
  ASSERT_TRUE(os::remove_tree(ops, paths.inbound_receipts()).is_ok());
  ASSERT_TRUE(os::remove_tree(ops, paths.inbound_asked()).is_ok());
  ASSERT_TRUE(Spool::create_layout(ops, root, {"remote1"}).is_ok());
  EXPECT_TRUE(ops.list(paths.inbound_receipts()).is_ok());
  EXPECT_TRUE(ops.list(paths.inbound_asked()).is_ok());
}

}  // namespace
}  // namespace bsmtp::spool
