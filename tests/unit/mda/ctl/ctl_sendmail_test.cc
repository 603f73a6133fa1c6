#include "mda/ctl/ctl_sendmail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "common/base/unique_fd.h"

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
    "Kbsmtp_rules socket -f -q -d5 local:/run/bsmtp/map.sock\n"
    "Xopendkim, S=inet:8891@127.0.0.1, F=T\n"
    "Xbsmtp, S=local:/run/bsmtp/milter.sock, F=T, T=C:10s;S:30s\n";

TEST(CtlSendmail, ReadsWhatTheFeatureWrote) {
  const auto site = parse_sendmail_cf(kCf, "sendmail.cf");
  ASSERT_TRUE(site);
  EXPECT_EQ(site->map, "/etc/mail/bsmtp");
  EXPECT_EQ(site->rules_socket, "local:/run/bsmtp/map.sock");
  EXPECT_EQ(site->access, "/etc/mail/access");
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
    site_.access = name + "/access";
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

TEST_F(CtlSendmailFiles, ATlsDemandOnEverybodyNeedsExceptions) {
  const struct {
    const char* name;
    const char* access;
    const char* complaint;  // "" = none
  } cases[] = {
      {"no file", nullptr, ""},
      {"nothing of TLS", "Connect:127\tRELAY\n", ""},
      {"for a peer alone", "TLS_Srv:athena.domain.co.uk TEMP+VERIFY:112+CN\n", ""},
      {"bare, which demands nothing", "TLS_Srv: OK\nTLS_Clt:\tOK\n", ""},
      {"a comment", "#TLS_Srv: VERIFY\n", ""},
      {"servers", "TLS_Srv:\tENCR:128\n",
       "without TLS_Srv:bsmtp-out, TLS_Srv:bsmtp-in: mail to our"},
      {"servers, in capitals", "tls_srv: perm+verify\n", "has a bare TLS_Srv: without"},
      {"servers, one exception", "TLS_Srv: ENCR:128\nTLS_Srv:bsmtp-in OK\n",
       "without TLS_Srv:bsmtp-out: "},
      {"servers, an exception that is none",
       "TLS_Srv: VERIFY\nTLS_Srv:bsmtp-in OK\nTLS_Srv:bsmtp-out VERIFY\n",
       "without TLS_Srv:bsmtp-out: "},
      {"servers, with exceptions",
       "TLS_Srv:bsmtp-out OK\nTLS_Srv:bsmtp-in OK\nTLS_Srv: TEMP+VERIFY:112\n", ""},
      {"clients", "TLS_Clt: TEMP+ENCR:112\n", "without TLS_Clt:localhost, TLS_Clt:127: parcels"},
      {"clients, with exceptions",
       "TLS_Clt: ENCR:112\nTLS_Clt:localhost OK\nTLS_Clt:127.0.0.1 OK\n", ""},
      {"recipients", "TLS_Rcpt: ENCR:112\n", "has a bare TLS_Rcpt: "},
  };
  for (const auto& c : cases) {
    if (c.access != nullptr) {
      std::ofstream(site_.access) << c.access;
    }
    if (*c.complaint == '\0') {
      EXPECT_EQ(complaints(), "") << c.name;
    } else {
      EXPECT_THAT(complaints(), HasSubstr(c.complaint)) << c.name;
    }
  }
}

// A socketmap that gives one answer to one client.
class MapService {
 public:
  MapService(const std::string& path, std::string reply)
      : listener_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, reply = std::move(reply)] {
      const UniqueFd client(accept(listener_.get(), nullptr, nullptr));
      char buffer[200];
      const ssize_t n = recv(client.get(), buffer, sizeof buffer, 0);
      asked_.assign(buffer, n < 0 ? 0 : static_cast<std::size_t>(n));
      EXPECT_EQ(send(client.get(), reply.data(), reply.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(reply.size()));
    });
  }
  std::string asked() {
    thread_.join();
    return asked_;
  }

 private:
  UniqueFd listener_;
  std::string asked_;
  std::thread thread_;
};

class CtlSocketmap : public CtlSendmailFiles {
 protected:
  void SetUp() override {
    CtlSendmailFiles::SetUp();
    path_ = directory_ + "/map.sock";
    config_.host = "hub.domain.com";
    config_.socketmap_socket = "unix:" + path_;
    site_.rules_socket = "local:" + path_;
  }
  std::string found(const std::optional<SendmailSite>& site,
                    const std::string& transport_maps = "") const {
    Findings findings;
    check_socketmap(
        config_,
        [&](const std::string& name) {
          return name == "transport_maps"    ? transport_maps
                 : name == "queue_directory" ? directory_
                                             : "";
        },
        site, findings);
    std::string text;
    for (const Finding& f : findings.take()) {
      text += (f.level == Finding::Level::kOk        ? "ok "
               : f.level == Finding::Level::kWarning ? "warning "
                                                     : "problem ") +
              f.text + "\n";
    }
    return text;
  }
  std::string path_;
};

TEST_F(CtlSocketmap, AnswersWhomSendmailAsks) {
  MapService service(path_, "9:OK direct,");
  EXPECT_EQ(found(site_), "ok unix:" + path_ + " answers\n");
  EXPECT_EQ(service.asked(), "37:bsmtp_rules postmaster@hub.domain.com,");
}

TEST_F(CtlSocketmap, AnswersWhomPostfixAsks) {
  for (const std::string& map : {std::string("socketmap:unix:map.sock:transport"),
                                 "proxy:socketmap:unix:" + path_ + ":transport"}) {
    MapService service(path_, "9:NOTFOUND ,");
    EXPECT_EQ(found(std::nullopt, "regexp:/x, " + map + ", texthash:/y"),
              "ok unix:" + path_ + " answers\n");
    EXPECT_EQ(service.asked(), "35:transport postmaster@hub.domain.com,");
    std::filesystem::remove(path_);
  }
  MapService service(path_, "9:NOTFOUND ,");
  EXPECT_THAT(found(std::nullopt, "socketmap:unix:other.sock:transport"),
              HasSubstr("warning Postfix' transport_maps does not ask"));
  service.asked();
}

TEST_F(CtlSocketmap, SilenceAndTroubleAreProblems) {
  EXPECT_THAT(found(site_), HasSubstr("problem no answer at unix:" + path_));
  for (const char* reply : {"9:TEMP later,", "", "hello\n", "7:PERM no,"}) {
    MapService service(path_, reply);
    EXPECT_THAT(found(site_), HasSubstr("problem no answer at unix:" + path_)) << reply;
    service.asked();
    std::filesystem::remove(path_);
  }
}

TEST_F(CtlSocketmap, OneSideAlone) {
  site_.rules_socket = "unix:/elsewhere.sock";
  EXPECT_THAT(
      found(site_),
      HasSubstr(
          "problem sendmail.cf asks unix:/elsewhere.sock, but bsmtp-milter answers at unix:"));
  config_.socketmap_socket.clear();
  EXPECT_THAT(found(site_), HasSubstr("bsmtp-milter answers nowhere: all but local mail waits"));
  EXPECT_THAT(found(std::nullopt, "socketmap:unix:map.sock:transport"),
              HasSubstr("warning transport_maps has a socketmap"));
  site_.rules_socket.clear();
  EXPECT_EQ(found(site_), "");
  EXPECT_EQ(found(std::nullopt, "texthash:/y"), "");
  config_.socketmap_socket = "unix:" + path_;
  EXPECT_THAT(found(site_), HasSubstr("warning sendmail.cf does not ask it"));
}

TEST_F(CtlSocketmap, ADirectoryThatOthersMayWriteTo) {
  std::filesystem::permissions(directory_, std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(found(site_), HasSubstr("problem others than its owner may write to " + directory_));
}

}  // namespace
}  // namespace bsmtp::mda::ctl
