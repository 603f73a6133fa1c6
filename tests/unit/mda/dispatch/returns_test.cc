#include "mda/dispatch/returns.h"

#include <gtest/gtest.h>

#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

std::string report(const std::string& status_part) {
  return "From: x\r\nContent-Type: multipart/report; boundary=\"=_b\"\r\n\r\n--=_b\r\n\r\nSorry\r\n"
         "--=_b\r\nContent-Type: message/delivery-status\r\n\r\n" +
         status_part + "\r\n--=_b--\r\n";
}

std::optional<ReturnReport> parse(const std::string& text) {
  StringSource source(text);
  return parse_return(source).value();
}

TEST(ParseReturnTest, ReadsAFoldedReport) {
  const auto found = parse(report(
      "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; bsmtp@a\r\nACTION: Failed\r\n"
      "Status: 5.1.1 (bad)\r\nRemote-MTA: dns; mx2\r\nDiagnostic-Code: smtp;\r\n 550 no\r\n"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->action, "failed");
  EXPECT_EQ(found->status, "5.1.1");
  EXPECT_EQ(found->remote_mta, "mx2");
  EXPECT_EQ(found->diagnostic, "550 no");
}

TEST(ParseReturnTest, OtherMailIsNone) {
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse("Subject: vacation\r\n\r\nI am away\r\n"));
  EXPECT_FALSE(parse("Content-Type: multipart/report\r\n\r\nno boundary\r\n"));
  EXPECT_FALSE(
      parse("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"));
}

struct TokenCase {
  const char* recipient;
  const char* token;
};

TEST(ReturnTokenTest, OnlyOurAddressWithHexToken) {
  config::Config config;
  config.host = "hub.domain.com";
  config.user = "bsmtp";
  const TokenCase cases[] = {
      {"bsmtp+0a1f@hub.domain.com", "0a1f"}, {"BSMTP+0A1F@HUB.domain.com", "0a1f"},
      {"bsmtp+0a1f@else.domain.com", ""},    {"bsmtp@hub.domain.com", ""},
      {"bsmtp+xyz@hub.domain.com", ""},      {"other+0a@hub.domain.com", ""},
      {"bsmtp+../../x@hub.domain.com", ""},  {"", ""},
  };
  for (const TokenCase& c : cases) {
    EXPECT_EQ(return_token(config, c.recipient), c.token) << c.recipient;
  }
}

}  // namespace
}  // namespace bsmtp::mda
