#include "mda/ctl/ctl_sendmail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace bsmtp::mda::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kCf =
    "Cwlocalhost\n"
    "#O Timeout.queuereturn=1d\n"
    "O Timeout.queuereturn.urgent=2h\n"
    "O Timeout.queuereturn=3d\n"
    "O MaxMessageSize=10240000\n"
    "Kaccess hash -T<TMPF> /etc/mail/access\n"
    "Kbsmtp hash -o /etc/mail/bsmtp\n"
    "Xopendkim, S=inet:8891@127.0.0.1, F=T\n"
    "Xbsmtp, S=local:/run/bsmtp/milter.sock, F=T, T=C:10s;S:30s\n";

TEST(CtlSendmail, ReadsWhatTheFeatureWrote) {
  const auto site = parse_sendmail_cf(kCf, "sendmail.cf");
  ASSERT_TRUE(site);
  EXPECT_EQ(site->map, "/etc/mail/bsmtp");
  EXPECT_THAT(site->filters, ElementsAre("inet:8891@127.0.0.1", "local:/run/bsmtp/milter.sock"));
  EXPECT_EQ(sendmail_parameters(*site)("maximal_queue_lifetime"), "3d");
  EXPECT_EQ(sendmail_parameters(*site)("message_size_limit"), "10240000");
  EXPECT_EQ(sendmail_parameters(*site)("queue_directory"), "");
}

TEST(CtlSendmail, KnowsWhoseParcelsItTakes) {
  const std::string rule = " > < ? > bsmtp < @ $+ > $*\t$#bsmtp-in $@ x $: bsmtp < @ x . >\n";
  struct Case {
    const char* name;
    std::string text;
    const char* host;
  };
  const std::vector<Case> cases = {
      {"named", "R< gate.example" + rule, "gate.example"},
      {"$j, defined", "Djhub.domain.com\nR< $j" + rule, "hub.domain.com"},
      {"$j, of sendmail's own making", "R< $j" + rule, ""},
      {"$j, of another macro", "Dj$w.domain.com\nR< $j" + rule, ""},
  };
  for (const Case& c : cases) {
    const auto site = parse_sendmail_cf("Kbsmtp hash /etc/mail/bsmtp\n" + c.text, "sendmail.cf");
    ASSERT_TRUE(site) << c.name;
    EXPECT_EQ(site->host, c.host) << c.name;
    EXPECT_EQ(site->user, "bsmtp") << c.name;
  }
}

TEST(CtlSendmail, DefaultsAreSendmails) {
  const auto site = parse_sendmail_cf("Kbsmtp hash /etc/mail/bsmtp", "sendmail.cf");
  ASSERT_TRUE(site);
  EXPECT_EQ(site->queue_lifetime, "5d");
  EXPECT_EQ(site->size_limit, "0");
}

TEST(CtlSendmail, WithoutTheFeatureItIsNotOurSite) {
  EXPECT_FALSE(parse_sendmail_cf("Kaccess hash /etc/mail/access\n", "sendmail.cf"));
  EXPECT_FALSE(read_sendmail_cf("/nonexistent/sendmail.cf"));
}

TEST(CtlSendmail, TimersNameSendmailsOption) {
  config::Config config;
  config.keep_sent = std::chrono::hours(24);
  const auto site = parse_sendmail_cf(kCf, "sendmail.cf");
  Findings findings;
  check_timers(config, sendmail_parameters(*site), findings, sendmail_names());
  const auto list = findings.take();
  ASSERT_FALSE(list.empty());
  EXPECT_THAT(list.front().text, HasSubstr("sendmail Timeout.queuereturn = 3d"));
}

class CtlSendmailFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "ctl-sendmail.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    config_.export_map = name + "/transport";
    config_.milter_socket = "unix:/run/bsmtp/milter.sock";
    config_.milter_socket_mode = 0600;
    site_ = *parse_sendmail_cf(kCf, "sendmail.cf");
    site_.map = name + "/bsmtp";
    write(config_.export_map, -60);
    write(site_.map + ".db", -30);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static void write(const std::string& path, int age) {
    std::ofstream(path) << "x";
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(age));
  }
  // Texts and remedies of what is not ok.
  std::string complaints() const {
    Findings findings;
    check_sendmail(config_, site_, findings);
    std::string text;
    for (const Finding& f : findings.take()) {
      text +=
          f.level == Finding::Level::kOk ? "" : f.about + ": " + f.text + "; " + f.remedy + "\n";
    }
    return text;
  }

  std::string directory_;
  config::Config config_;
  SendmailSite site_;
};

TEST_F(CtlSendmailFiles, GoodSite) {
  EXPECT_EQ(complaints(), "");
}

TEST_F(CtlSendmailFiles, ForgottenMakemap) {
  write(config_.export_map, 0);
  EXPECT_THAT(complaints(), HasSubstr("is older than " + config_.export_map));
  EXPECT_THAT(complaints(), HasSubstr("makemap hash " + site_.map + " <" + config_.export_map));
}

TEST_F(CtlSendmailFiles, MapNeverMade) {
  std::filesystem::remove(site_.map + ".db");
  EXPECT_THAT(complaints(), HasSubstr("sendmail-map: "));
  EXPECT_THAT(complaints(), HasSubstr("makemap hash"));
}

TEST_F(CtlSendmailFiles, ParcelsForSomebodyElse) {
  config_.host = "hub.domain.com";
  config_.user = "bsmtp";
  site_.host = "Hub.domain.com";
  site_.user = "bsmtp";
  EXPECT_EQ(complaints(), "");
  site_.host = "mail.domain.com";
  EXPECT_THAT(complaints(), HasSubstr("come to bsmtp@hub.domain.com"));
  site_.host = "";
  EXPECT_EQ(complaints(), "");
  site_.user = "tunnel";
  EXPECT_THAT(complaints(), HasSubstr("`user=bsmtp'"));
}

TEST_F(CtlSendmailFiles, MilterElsewhere) {
  config_.milter_socket = "unix:/run/elsewhere.sock";
  EXPECT_THAT(complaints(), HasSubstr("no milter at milter-socket = unix:/run/elsewhere.sock"));
}

TEST_F(CtlSendmailFiles, SocketThatOthersMayWriteTo) {
  config_.milter_socket_mode = 0660;
  EXPECT_THAT(complaints(), HasSubstr("milter-socket-mode"));
  config_.milter_socket = "inet:8899@127.0.0.1";
  site_.filters = {"inet:8899@127.0.0.1"};
  EXPECT_EQ(complaints(), "");
}

}  // namespace
}  // namespace bsmtp::mda::ctl
