#include "mda/dispatch/returns.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/text.h"
#include "tests/support/temp_dir.h"

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
  EXPECT_EQ(found->diagnostic_type, "smtp");
  EXPECT_EQ(found->reporting_mta, "mx");
}

TEST(ParseReturnTest, RepeatsOnlyWhatAReportMaySay) {
  struct {
    const char* diagnostic;
    const char* type;
    const char* remote;
    const char* mta;
  } const cases[] = {
      {"X-Postfix; no such host", "x-postfix", "dns; mx.example (192.0.2.1)", "mx.example"},
      {"smtp; 550-5.1.1 a", "smtp", "dns;[192.0.2.1]", "[192.0.2.1]"},
      {"smtp; connection refused", "", "x; a b", ""},
      {"550 no type", "", "mx\x01.example", ""},
      {"a b; c", "", "", ""},
      {"; 550 no", "", "dns;", ""},
  };
  for (const auto& c : cases) {
    const auto found =
        parse(report(str_cat({"Reporting-MTA: dns; mx\r\n\r\nAction: failed\r\n"
                              "Remote-MTA: ",
                              c.remote, "\r\nDiagnostic-Code: ", c.diagnostic, "\r\n"})));
    ASSERT_TRUE(found) << c.diagnostic;
    EXPECT_EQ(found->diagnostic_type, c.type) << c.diagnostic;
    EXPECT_EQ(found->remote_mta, c.mta) << c.remote;
  }
}

TEST(ParseReturnTest, OtherMailIsNone) {
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse("Subject: vacation\r\n\r\nI am away\r\n"));
  EXPECT_FALSE(parse("Content-Type: multipart/report\r\n\r\nno boundary\r\n"));
  EXPECT_FALSE(
      parse("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"));
}

// What Postfix 3.7 and sendmail 8.17 really wrote; the seeds of the fuzz target.
struct RealCase {
  const char* file;
  const char* action;
  const char* status;
  Refusal refusal;
};

class RealReturnTest : public testing::TestWithParam<RealCase> {};

TEST_P(RealReturnTest, IsUnderstood) {
  const RealCase& c = GetParam();
  const auto found =
      parse(test::slurp(str_cat({BSMTP_SOURCE_DIR, "/tests/fuzz/corpus/return/", c.file, ".eml"})));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->action, c.action);
  EXPECT_EQ(found->status, c.status);
  EXPECT_EQ(classify_refusal(found->status, found->diagnostic, found->refused_at), c.refusal);
}

INSTANTIATE_TEST_SUITE_P(
    Mta, RealReturnTest,
    testing::Values(RealCase{"postfix-host-unknown", "failed", "5.4.4", Refusal::kOther},
                    RealCase{"postfix-user-unknown", "failed", "5.1.1", Refusal::kOther},
                    RealCase{"postfix-mailbox-full", "failed", "5.2.2", Refusal::kOther},
                    RealCase{"postfix-relay-denied", "failed", "5.7.1", Refusal::kOther},
                    RealCase{"postfix-content", "failed", "5.7.1", Refusal::kContent},
                    RealCase{"postfix-too-big-at-mail", "failed", "5.3.4", Refusal::kTooBig},
                    RealCase{"postfix-too-big-at-data", "failed", "5.3.4", Refusal::kTooBig},
                    RealCase{"postfix-delayed", "delayed", "4.3.0", Refusal::kOther},
                    RealCase{"postfix-relayed", "relayed", "2.0.0", Refusal::kOther},
                    RealCase{"sendmail-host-unknown", "failed", "5.1.2", Refusal::kOther},
                    RealCase{"sendmail-user-unknown", "failed", "5.1.1", Refusal::kOther},
                    RealCase{"sendmail-mailbox-full", "failed", "5.2.2", Refusal::kOther},
                    RealCase{"sendmail-relay-denied", "failed", "5.7.1", Refusal::kOther},
                    RealCase{"sendmail-content", "failed", "5.7.1", Refusal::kContent},
                    RealCase{"sendmail-too-big-at-mail", "failed", "5.3.4", Refusal::kTooBig},
                    RealCase{"sendmail-too-big-at-data", "failed", "5.3.4", Refusal::kTooBig},
                    RealCase{"sendmail-delayed", "delayed", "4.3.0", Refusal::kOther},
                    RealCase{"sendmail-relayed", "relayed", "2.1.5", Refusal::kOther}),
    [](const auto& c) {
      std::string name = c.param.file;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

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
