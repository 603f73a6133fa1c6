#include "common/spool/accepted.h"

#include <gtest/gtest.h>

namespace bsmtp::spool {
namespace {

AcceptedMeta meta() {
  AcceptedMeta m;
  m.peer = "remote1";
  m.parcel_id = std::string(44, 'a');
  m.digest = std::string(64, 'b');
  m.accepted = TimePoint(std::chrono::seconds(1790000000));
  m.expires = m.accepted + std::chrono::hours(1);
  m.peer_host = "athena.domain.co.uk";
  m.messages.push_back({std::string(64, 'c'), 17, 117, {{0, "5.7.1", "not allowed here"}}});
  m.messages.push_back({std::string(64, 'd'), 18, 118, {}});
  return m;
}

TEST(AcceptedMetaTest, RoundTrip) {
  const std::string text = format_accepted_meta(meta()).value();
  const auto read = parse_accepted_meta(text, "meta");
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_EQ(format_accepted_meta(read.value()).value(), text);
  EXPECT_EQ(read->messages.size(), 2U);
  EXPECT_EQ(read->messages[1].item_bytes, 118U);
  EXPECT_EQ(read->messages[0].refused[0].text, "not allowed here");
  EXPECT_FALSE(read->created);
}

TEST(AcceptedMetaTest, TheDigestOfAnEnvelopeMayBeMissing) {
  AcceptedMeta m = meta();
  m.messages[1].head_digest = std::string(64, 'e');
  const std::string text = format_accepted_meta(m).value();
  const auto read = parse_accepted_meta(text, "meta");
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_EQ(read->messages[0].head_digest, "");
  EXPECT_EQ(read->messages[1].head_digest, m.messages[1].head_digest);
  EXPECT_EQ(format_accepted_meta(read.value()).value(), text);
  const std::size_t at = text.find("eee");
  for (const std::string& other :
       {text.substr(0, at) + 'x' + text.substr(at + 1), text.substr(0, at) + text.substr(at + 1),
        text.substr(0, text.size() - 1) + " x\n"}) {
    EXPECT_EQ(parse_accepted_meta(other, "meta").status().code(), "4.3.0") << other;
  }
}

TEST(AcceptedMetaTest, WhatAnotherReleaseWroteIsNotCalledDamage) {
  const std::string text = format_accepted_meta(meta()).value();
  EXPECT_EQ(parse_accepted_meta(text + "new-key: x\n", "meta").status().code(), "4.3.5");
  EXPECT_EQ(parse_accepted_meta("version: 3\n" + text.substr(11), "meta").status().code(), "4.3.5");
}

TEST(AcceptedMetaTest, SaysWhetherAReceiptIsWanted) {
  AcceptedMeta m = meta();
  EXPECT_EQ(format_accepted_meta(m)->find("receipt"), std::string::npos);
  for (const unsigned wanted : {1U, 2U}) {
    m.receipt = wanted;
    const auto read = parse_accepted_meta(format_accepted_meta(m).value(), "meta");
    ASSERT_TRUE(read.is_ok()) << read.status().to_string();
    EXPECT_EQ(read->receipt, wanted);
  }
  m.receipt = 3;
  EXPECT_FALSE(parse_accepted_meta(format_accepted_meta(m).value(), "meta").is_ok());
}

TEST(AcceptedMetaTest, ControlCharactersAreRefusedWhenWriting) {
  AcceptedMeta m = meta();
  m.messages[0].refused[0].text = "a\nmessage: 000003";
  EXPECT_FALSE(format_accepted_meta(m).is_ok());
}

TEST(AcceptedMetaTest, EveryTruncationAndForeignVersionIsRefused) {
  const std::string text = format_accepted_meta(meta()).value();
  for (std::size_t n = 0; n < text.size(); ++n) {
    EXPECT_FALSE(parse_accepted_meta(text.substr(0, n), "meta").is_ok()) << n;
  }
  EXPECT_FALSE(parse_accepted_meta("version: 1\n" + text.substr(11), "meta").is_ok());
  EXPECT_FALSE(parse_accepted_meta(text + "new-key: x\n", "meta").is_ok());
}

TEST(AcceptedMetaTest, ABadTimeIsTroubleAndNoVerdict) {
  std::string text = format_accepted_meta(meta()).value();
  const std::size_t at = text.find("accepted: 2") + 10;
  text[at] = 'x';
  EXPECT_TRUE(parse_accepted_meta(text, "meta").status().is_temporary());
}

TEST(AcceptedNameTest, OnlyOurForm) {
  const std::string id(44, 'a');
  ASSERT_TRUE(parse_accepted_directory_name("remote1." + id));
  EXPECT_EQ(parse_accepted_directory_name("remote1." + id)->parcel_id, id);
  for (const std::string bad : {"remote1", ".", "..", "remote1.x", "Re/.."}) {
    EXPECT_FALSE(parse_accepted_directory_name(bad)) << bad;
  }
  EXPECT_EQ(accepted_message_name(17), "000017");
}

}  // namespace
}  // namespace bsmtp::spool
