#include "common/spool/accepted_parcel.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/text.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

using Numbers = std::vector<std::uint64_t>;

std::string transaction(const std::string& text) {
  return "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n" + text + ".\r\n";
}

// A parcel of three messages, the second larger than what a reader keeps in memory.
class OnDisk : public ::testing::Test {
 protected:
  OnDisk() {
    for (const std::string& text : texts_) {
      const std::string item = transaction(text);
      meta_.messages.push_back({std::string(64, 'c'), text.size(), item.size(), {}});
      octets_ += item;
    }
    meta_.peer = "remote1";
    meta_.parcel_id = std::string(44, 'a');
    meta_.digest = std::string(64, 'b');
    write();
  }
  void write() {
    test::spit(dir_ / "messages", octets_);
    test::spit(dir_ / "meta", format_accepted_meta(meta_).value());
  }
  Result<AcceptedParcel> load() { return AcceptedParcel::load(os::real_file_ops(), dir_.path()); }

  const std::vector<std::string> texts_ = {"Subject: 1\r\n\r\n..one\r\n",
                                           "Subject: 2\r\n\r\n" + std::string(70000, 'x') + "\r\n",
                                           "Subject: 3\r\n\r\nthree\r\n"};
  test::TempDir dir_;
  AcceptedMeta meta_;
  std::string octets_;
};

TEST_F(OnDisk, EachMessageIsReadFromItsPlace) {
  const auto parcel = load();
  ASSERT_TRUE(parcel.is_ok()) << parcel.status().text();
  EXPECT_EQ(parcel->open_messages(), (Numbers{1, 2, 3}));
  EXPECT_EQ(parcel->messages_size(), octets_.size());
  for (std::uint64_t n = 1; n <= 3; ++n) {
    const auto item = parcel->open_message(n);
    ASSERT_TRUE(item.is_ok()) << item.status().text();
    StringSink text(1U << 20U);
    ASSERT_TRUE(copy(*item->stuffed_text(), text).is_ok());
    EXPECT_EQ(text.str(), texts_[n - 1]);
    StringSink whole(1U << 20U);
    ASSERT_TRUE(copy(*item->transaction(), whole).is_ok());
    EXPECT_EQ(whole.str(), transaction(texts_[n - 1]));
  }
}

TEST_F(OnDisk, OfAFileThatIsTooShortTheRestIsReadable) {
  const std::string good = octets_;
  for (const auto& [name, octets, readable] :
       {std::tuple("too long", good + "x", 3),
        std::tuple("one octet less", good.substr(0, good.size() - 1), 2),
        std::tuple("half", good.substr(0, good.size() / 2), 1),
        std::tuple("empty", std::string(), 0)}) {
    octets_ = octets;
    write();
    const auto parcel = load();
    ASSERT_TRUE(parcel.is_ok()) << name;
    for (int n = 1; n <= 3; ++n) {
      const auto item = parcel->open_message(static_cast<std::uint64_t>(n));
      EXPECT_EQ(item.is_ok(), n <= readable) << name << " " << n;
      if (!item.is_ok()) {
        EXPECT_NE(item.status().text().find(dir_ / "messages"), std::string::npos);
      }
    }
  }
  octets_ = good;
}

TEST_F(OnDisk, AParcelWithoutOneOfItsFilesIsRefusedAndTheMailStays) {
  meta_.messages[0].item_bytes = std::uint64_t{1} << 43U;  // sums of such could overflow
  write();
  EXPECT_FALSE(load().is_ok());
  std::filesystem::remove(dir_ / "messages");
  EXPECT_FALSE(load().is_ok());
}

TEST_F(OnDisk, ADamagedMessageLeavesTheOthersReadable) {
  octets_[meta_.messages[0].item_bytes - 2] = 'x';  // the end mark of the first
  octets_[meta_.messages[0].item_bytes] = 'm';      // harmless: commands in lower case
  write();
  const auto parcel = load();
  ASSERT_TRUE(parcel.is_ok()) << parcel.status().text();
  EXPECT_TRUE(parcel->open_message(1).status().is_permanent());
  EXPECT_TRUE(parcel->open_message(2).is_ok());
  EXPECT_TRUE(parcel->open_message(3).is_ok());
}

TEST_F(OnDisk, LengthsThatAreOffDoNotJoinTwoMessages) {
  meta_.messages[0].item_bytes += 7;
  meta_.messages[1].item_bytes -= 7;
  write();
  const auto parcel = load();
  ASSERT_TRUE(parcel.is_ok()) << parcel.status().text();
  EXPECT_FALSE(parcel->open_message(1).is_ok());
  EXPECT_FALSE(parcel->open_message(2).is_ok());
  EXPECT_TRUE(parcel->open_message(3).is_ok());
}

TEST_F(OnDisk, TheStateTellsWhatIsLeft) {
  const TimePoint next(std::chrono::seconds(1790000000));
  test::spit(dir_ / "state", format_deferral({4, next}, {1, 3}));
  const auto parcel = load();
  ASSERT_TRUE(parcel.is_ok()) << parcel.status().text();
  EXPECT_EQ(parcel->open_messages(), (Numbers{1, 3}));
  EXPECT_EQ(parcel->deferral().attempts, 4U);
  EXPECT_EQ(parcel->deferral().next, next);
  EXPECT_TRUE(parcel->open_message(2).is_ok()) << "an admin may look at a finished one";
}

// A list that cannot be believed must not lose mail: the ledger knows what was done.
TEST_F(OnDisk, AStateWithoutABelievableListMeansAll) {
  for (const std::string list :
       {"", "0", "4", "2-1", "1,1", "2,1", "1-", "-2", "1,", ",1", "1-9", "1 2", "x", "1-2-3"}) {
    test::spit(dir_ / "state", "version: 1\nattempts: 2\nopen: " + list + "\n");
    const auto parcel = load();
    ASSERT_TRUE(parcel.is_ok()) << parcel.status().text();
    EXPECT_EQ(parcel->open_messages(), (Numbers{1, 2, 3})) << list;
  }
  test::spit(dir_ / "state", "garbage");
  EXPECT_EQ(load()->open_messages(), (Numbers{1, 2, 3}));
}

TEST(DeferralText, RunsAreShortAndAListTooLongIsLeftOut) {
  EXPECT_NE(format_deferral({}, {1, 2, 3, 7, 9, 10}).find("\nopen: 1-3,7,9-10\n"),
            std::string::npos);
  Numbers scattered;
  for (std::uint64_t n = 1; n < 400000; n += 2) {
    scattered.push_back(n);
  }
  const std::string text = format_deferral({}, scattered);
  EXPECT_EQ(text.find("open:"), std::string::npos);
  EXPECT_NE(text.find("attempts:"), std::string::npos);
}

}  // namespace
}  // namespace bsmtp::spool
