#include "mda/ctl/ctl_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/support/temp_dir.h"

namespace bsmtp::mda::ctl {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

// Debian 12's Postfix as installed.
std::map<std::string, std::string> debian() {
  return {{"maximal_queue_lifetime", "5d"},
          {"command_time_limit", "1000s"},
          {"lmtp_data_done_timeout", "600s"},
          {"message_size_limit", "10240000"},
          {"queue_directory", "/var/spool/postfix"}};
}

MtaParameter mta(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
}

// Texts of findings that are not ok.
std::vector<std::string> complaints(Findings findings) {
  std::vector<std::string> texts;
  for (const Finding& f : findings.take()) {
    if (f.level != Finding::Level::kOk) {
      EXPECT_NE(f.remedy, "") << f.text;
      texts.push_back(f.text);
    }
  }
  return texts;
}

config::Config with_peer() {
  config::Config config;
  config::Peer peer;
  peer.name = "remote1";
  config.peers.push_back(peer);
  return config;
}

TEST(CtlCheck, DefaultsHoldBesideDebiansPostfix) {
  const config::Config config = with_peer();
  Findings timers;
  check_timers(config, mta(debian()), timers);
  EXPECT_THAT(complaints(std::move(timers)), ::testing::IsEmpty());
  Findings sizes;
  check_sizes(config, mta(debian()), sizes);
  EXPECT_THAT(complaints(std::move(sizes)), ::testing::IsEmpty());
}

TEST(CtlCheck, EveryInequalityIsSeen) {
  struct Case {
    const char* name;
    std::function<void(config::Config&)> spoil;
    const char* expected;
  };
  const std::vector<Case> cases = {
      {"heartbeat", [](auto& c) { c.heartbeat = seconds(7200); }, "accept-while-stalled"},
      {"deadline above the MTA's limit", [](auto& c) { c.agent_deadline = seconds(990); },
       "bsmtp-in_time_limit"},
      {"deadline above the LMTP client's patience",
       [](auto& c) {
         c.agent_deadline = seconds(580);
         c.export_transport = "bsmtp-out-lmtp:unix:private/bsmtp-out-agent";
       },
       "lmtp_data_done_timeout"},
      {"deadline", [](auto& c) { c.agent_deadline = seconds(90000); }, "tmp-age"},
      {"digest", [](auto& c) { c.quarantine_age = seconds(3599); }, "quarantine-digest"},
      {"retry", [](auto& c) { c.retry_initial = seconds(7200); }, "retry-maximum"},
      {"expire", [](auto& c) { c.delivery_expire = seconds(60); }, "delivery-expire"},
      {"delay", [](auto& c) { c.delay_warning = seconds(6 * 86400); }, "delay-warning"},
      {"lifetime against the MTA's queue",
       [](auto& c) { c.parcel_lifetime = seconds(10 * 86400 - 1); },
       "delivery-expire + Postfix maximal_queue_lifetime"},
      {"a parcel handed over late", [](auto& c) { c.parcel_lifetime = seconds(5 * 86400 - 1); },
       "delivery-expire = 5d is longer than parcel-lifetime"},
      {"late bounces", [](auto& c) { c.keep_sent = seconds(86400); }, "keep-sent"},
      {"stalled", [](auto& c) { c.accept_while_stalled = seconds(6 * 86400); },
       "accept-while-stalled"},
      {"resends before the receipt", [](auto& c) { c.resend_after = seconds(60); },
       "receipt-delay = 5m is longer than resend-after"},
      {"resends after the end", [](auto& c) { c.resend_after = seconds(3 * 86400); },
       "7 * resend-after"},
      {"no time to answer", [](auto& c) { c.receipt_grace = seconds(60); },
       "receipt-delay = 5m is longer than receipt-grace"},
      {"forgotten", [](auto& c) { c.ledger_retention = seconds(3600 * 23); },
       "receipt-grace = 1d is longer than ledger-retention"},
      {"smtp", [](auto& c) { c.smtp_timeout = seconds(60); }, "RFC 5321"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    config::Config config = with_peer();
    c.spoil(config);
    Findings findings;
    check_timers(config, mta(debian()), findings);
    const auto texts = complaints(std::move(findings));
    ASSERT_FALSE(texts.empty());
    EXPECT_THAT(texts, ::testing::Contains(HasSubstr(c.expected)));
  }
}

TEST(CtlCheck, TheLmtpClientsPatienceMattersOnlyToAgentsByLmtp) {
  const test::TempDir dir;
  const auto judged = [&](const char* routes) {
    test::spit(dir / "routes", routes);
    config::Config config = with_peer();
    config.agent_deadline = seconds(580);
    auto values = debian();
    values["transport_maps"] = "hash:/nonexistent/x, regexp:" + (dir / "routes");
    Findings findings;
    check_timers(config, mta(values), findings);
    return complaints(std::move(findings)).size();
  };
  EXPECT_EQ(judged("/^bsmtp@hub$/  bsmtp-in:\n# /^x$/ bsmtp-in-lmtp:unix:private/x\n"
                   "/^u@hub$/ lmtp:unix:private/dovecot-lmtp\n"),
            0U);
  EXPECT_EQ(judged("/^bsmtp@hub$/  bsmtp-in-lmtp:unix:private/bsmtp-in-agent\n"), 1U);
}

TEST(CtlCheck, ParcelsMustFitTheMta) {
  config::Config config = with_peer();
  config.peers.front().max_bytes = 8ULL << 20U;
  Findings findings;
  check_sizes(config, mta(debian()), findings);
  const auto list = findings.take();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].about, "peer remote1");
  // What the remedy proposes must be enough.
  const std::string digits = list[0].remedy.substr(list[0].remedy.find("to ") + 3);
  config.peers.front().max_bytes = std::stoull(digits);
  EXPECT_GT(config.peers.front().max_bytes, 7000000U);
  Findings again;
  check_sizes(config, mta(debian()), again);
  EXPECT_THAT(complaints(std::move(again)), ::testing::IsEmpty());
}

TEST(CtlCheck, NoPostfixNoComplaint) {
  Findings findings;
  check_timers(with_peer(), mta({}), findings);
  check_sizes(with_peer(), mta({}), findings);
  EXPECT_THAT(complaints(std::move(findings)), ::testing::IsEmpty());
}

TEST(CtlCheck, SocketMustBeVisibleToAChrootedSmtpd) {
  config::Config config = with_peer();
  config.milter_socket = "unix:/tmp/milter.sock";
  Findings outside;
  check_socket(config, mta(debian()), outside);
  EXPECT_THAT(complaints(std::move(outside)), ::testing::Contains(HasSubstr("chroot")));
  Findings elsewhere;
  check_socket(config, mta({}), elsewhere);
  EXPECT_THAT(complaints(std::move(elsewhere)), ::testing::IsEmpty());
  config.milter_socket = "unix:/nonexistent/milter.sock";
  Findings missing;
  check_socket(config, mta({}), missing);
  EXPECT_THAT(complaints(std::move(missing)), ::testing::Contains(HasSubstr("/nonexistent")));
}

}  // namespace
}  // namespace bsmtp::mda::ctl
