#include "common/mail/transaction.h"

#include <gtest/gtest.h>

namespace bsmtp::mail {
namespace {

const char* const kItem =
    "MAIL FROM:<ann@domain.com> SIZE=12 RET=HDRS\r\n"
    "RCPT TO:<bob@domain.co.uk> NOTIFY=FAILURE ORCPT=rfc822;bob@domain.co.uk\r\n"
    "RCPT TO:<eve@domain.co.uk>\r\n"
    "DATA\r\n"
    "Subject: x\r\n\r\n..\r\nend\r\n.\r\n";

TEST(Transaction, ReadsWhatItWrote) {
  StringSource source(kItem);
  auto head = read_transaction_head(source);
  ASSERT_TRUE(head.is_ok()) << head.status().to_string();
  EXPECT_EQ(head->envelope.sender, "ann@domain.com");
  ASSERT_EQ(head->envelope.recipients.size(), 2U);
  EXPECT_EQ(head->envelope.recipients[0].notify, "FAILURE");
  const std::string written = *format_transaction_head(head->envelope);
  EXPECT_EQ(written, std::string(kItem).substr(0, written.size()));
  EXPECT_EQ(head->text_offset, written.size());
  StringSink text;
  const auto facts = copy_transaction_text(*head, source, text);
  ASSERT_TRUE(facts.is_ok()) << facts.status().to_string();
  EXPECT_EQ(text.str(), "Subject: x\r\n\r\n..\r\nend\r\n");
  EXPECT_EQ(facts->octets, 22U);
}

TEST(Transaction, RefusesDamage) {
  const struct {
    const char* name;
    std::string in;
    const char* code;
  } cases[] = {
      {"empty", "", "5.6.0"},
      {"no MAIL", "RCPT TO:<b@x>\r\nDATA\r\n.\r\n", "5.6.0"},
      {"no RCPT", "MAIL FROM:<>\r\nDATA\r\n.\r\n", "5.6.0"},
      {"bad address", "MAIL FROM:<a b@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n.\r\n", "5.6.0"},
      {"LF lines", "MAIL FROM:<>\nRCPT TO:<b@x>\nDATA\n.\n", "5.6.0"},
      {"other command", "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nRSET\r\nDATA\r\n.\r\n", "5.6.0"},
      {"endless line", "MAIL FROM:<" + std::string(5000, 'a') + "@x>\r\n", "5.6.0"},
      {"text after the end dot", "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\n",
       "5.6.0"},
      {"bare LF", "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\na\nb\r\n.\r\n", "5.6.1"},
      {"NUL", std::string("MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n\0\r\n.\r\n", 41), "5.6.1"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    StringSource source(c.in);
    auto head = read_transaction_head(source);
    Status status = head.status();
    if (status.is_ok()) {
      StringSink text;
      status = copy_transaction_text(*head, source, text).status();
    }
    EXPECT_FALSE(status.is_ok());
    EXPECT_EQ(status.code(), c.code);
  }
}

TEST(Transaction, CutAnywhereIsRefused) {
  const std::string item = kItem;
  for (std::size_t n = 0; n < item.size(); ++n) {
    StringSource source(std::string_view(item).substr(0, n));
    auto head = read_transaction_head(source);
    if (!head.is_ok()) continue;
    StringSink text;
    EXPECT_FALSE(copy_transaction_text(*head, source, text).is_ok()) << n;
  }
}

TEST(Transaction, WritesNoHeadWithoutRecipientOrWithABadOne) {
  Envelope envelope;
  EXPECT_EQ(format_transaction_head(envelope).status().code(), "5.5.1");
  envelope.recipients.push_back({"a\r\nDATA@x", "", "", {}});
  EXPECT_EQ(format_transaction_head(envelope).status().code(), "5.1.3");
}

TEST(Transaction, CountsRecipients) {
  StringSource source(kItem);
  EXPECT_FALSE(read_transaction_head(source, 1).is_ok());
}

}  // namespace
}  // namespace bsmtp::mail
