#include "mda/receive/message_writer.h"

#include <gtest/gtest.h>

#include "common/digest/sha256.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

mail::Envelope envelope(const std::vector<std::string>& recipients) {
  mail::Envelope result;
  result.sender = "ann@domain.com";
  for (const std::string& address : recipients) {
    mail::Recipient recipient;
    recipient.address = address;
    recipient.notify = "NEVER";
    result.recipients.push_back(recipient);
  }
  return result;
}

TEST(MessageWriter, WritesCompleteTransactionsWithFactsAboutThePlainText) {
  const test::TempDir dir;
  MessageWriter writer(os::real_file_ops(), dir.path());
  ASSERT_TRUE(writer.begin_message(envelope({"bob@x.y", "eve@x.y"}), 0).is_ok());
  // Cut inside a line, and a Received field hidden behind a stuffing dot counts as what it is
  // after unstuffing.
  ASSERT_TRUE(writer.text("Received: a\r\nRecei").is_ok());
  ASSERT_TRUE(writer.text("ved: b\r\nSubject: x\r\n\r\nReceived: body\r\n..dot\r\n").is_ok());
  const std::string plain =
      "Received: a\r\nReceived: b\r\nSubject: x\r\n\r\nReceived: body\r\n.dot\r\n";
  mail::TextFacts facts;
  facts.octets = plain.size();
  ASSERT_TRUE(writer.end_message(facts).is_ok());

  ASSERT_TRUE(writer.finish().is_ok());
  EXPECT_EQ(test::slurp(dir / "messages"),
            "MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@x.y> NOTIFY=NEVER\r\n"
            "RCPT TO:<eve@x.y> NOTIFY=NEVER\r\nDATA\r\nReceived: a\r\nReceived: b\r\n"
            "Subject: x\r\n\r\nReceived: body\r\n..dot\r\n.\r\n");
  ASSERT_EQ(writer.messages().size(), 1U);
  EXPECT_EQ(writer.messages()[0].text_digest, digest::sha256_hex(plain));
  EXPECT_EQ(writer.messages()[0].text_bytes, plain.size());
  EXPECT_EQ(writer.messages()[0].received, 2U);
}

TEST(MessageWriter, KnowsWhereEachMessageStandsAndLeavesOutThoseWithoutRecipients) {
  const test::TempDir dir;
  MessageWriter writer(os::real_file_ops(), dir.path());
  for (const bool empty : {true, false, true, false}) {
    ASSERT_TRUE(writer
                    .begin_message(envelope(empty ? std::vector<std::string>{}
                                                  : std::vector<std::string>{"bob@x.y"}),
                                   0)
                    .is_ok());
    ASSERT_TRUE(writer.text("Subject: x\r\n\r\n").is_ok());
    ASSERT_TRUE(writer.end_message({}).is_ok());
  }
  ASSERT_TRUE(writer.finish().is_ok());
  const std::string one =
      "MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@x.y> NOTIFY=NEVER\r\nDATA\r\nSubject: x\r\n\r\n"
      ".\r\n";
  EXPECT_EQ(test::slurp(dir / "messages"), one + one);
  ASSERT_EQ(writer.messages().size(), 2U);
  EXPECT_EQ(writer.messages()[1].offset, one.size());
  EXPECT_EQ(writer.messages()[1].item_bytes, one.size());
}

TEST(MessageWriter, ABatchWithoutMessagesLeavesAnEmptyFile) {
  const test::TempDir dir;
  MessageWriter writer(os::real_file_ops(), dir.path());
  EXPECT_EQ(test::names_in(dir.path()), std::vector<std::string>{}) << "not before it is needed";
  ASSERT_TRUE(writer.finish().is_ok());
  EXPECT_EQ(test::slurp(dir / "messages"), "");
}

TEST(MessageWriter, AnAddressThatCouldInjectACommandIsRefused) {
  const test::TempDir dir;
  MessageWriter writer(os::real_file_ops(), dir.path());
  EXPECT_FALSE(writer.begin_message(envelope({"bob@x.y>\r\nRCPT TO:<eve@x.y"}), 0).is_ok());
  EXPECT_EQ(test::names_in(dir.path()), std::vector<std::string>{});
}

}  // namespace
}  // namespace bsmtp::mda
