#include "mda/ctl/ctl_postfix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace bsmtp::mda::ctl {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kServices =
    "smtp       inet  n       -       y       -       -       smtpd\n"
    "submission inet  n       -       y       -       -       smtpd -o smtpd_milters=inet:x:1\n"
    "cleanup    unix  n       -       y       -       0       cleanup\n"
    "127.0.0.1:10027 inet n   -       y       -       20      smtpd -o smtpd_milters=\n";

// A gateway as docs/install-postfix.md leaves it; a case changes one thing.
class CtlPostfix : public ::testing::Test {
 public:
  CtlPostfix() {
    config_.host = "hub.domain.com";
    config_.milter_socket = "unix:/var/spool/postfix/bsmtp/milter.sock";
    config_.peers.emplace_back().name = "remote1";
    main_["queue_directory"] = "/var/spool/postfix";
    main_["smtpd_milters"] = "unix:dkim.sock { unix:bsmtp/milter.sock, default_action=tempfail }";
    main_["non_smtpd_milters"] = "unix:dkim.sock, unix:/var/spool/postfix/bsmtp/milter.sock";
    main_["smtpd_recipient_restrictions"] =
        "check_recipient_access regexp:/etc/postfix/bsmtp-access, permit_mynetworks";
    main_["masquerade_classes"] = "envelope_sender, header_sender, header_recipient";
    site_.servers = {{"smtp/inet", {}}, {"127.0.0.1:10027/inet", {{"smtpd_milters", ""}}}};
    site_.parameter = [this](const std::string& name) { return main_[name]; };
    site_.lookup = [this](const std::string& map, const std::string& key) {
      return map == "hash:/map" ? map_[key] : std::string();
    };
    site_.elsewhere = [this](const std::string& directory, const std::string& name) {
      return directory == "/etc/postfix-in" ? other_[name] : "";
    };
  }

  // What is wrong, "level: text -> remedy" a line; "" when all is well.
  std::string found() {
    Findings findings;
    check_postfix(config_, site_, findings);
    std::string text;
    for (const Finding& f : findings.take()) {
      if (f.level != Finding::Level::kOk) {
        text += (f.level == Finding::Level::kProblem ? "problem: " : "warning: ") + f.text +
                " -> " + f.remedy + "\n";
      }
    }
    return text;
  }

  config::Config config_;
  PostfixSite site_;
  std::map<std::string, std::string> main_;
  std::map<std::string, std::string> map_;
  std::map<std::string, std::string> other_;
};

TEST_F(CtlPostfix, ReadsServicesAndTheirOwnParameters) {
  const auto servers = parse_postfix_servers(
      kServices,
      "submission/inet/smtpd_milters = inet:x:1\n127.0.0.1:10027/inet/smtpd_milters =\n"
      "pickup/unix/content_filter = x\nsubmission/inet/content_filter = smtp:[127.0.0.1]:10024\n");
  ASSERT_EQ(servers.size(), 3U);
  EXPECT_EQ(servers[0].name, "smtp/inet");
  EXPECT_TRUE(servers[0].own.empty());
  EXPECT_EQ(servers[1].own.at("smtpd_milters"), "inet:x:1");
  EXPECT_EQ(servers[1].own.at("content_filter"), "smtp:[127.0.0.1]:10024");
  EXPECT_EQ(servers[2].own.at("smtpd_milters"), "");
}

TEST_F(CtlPostfix, AGatewaySetUpByTheRecipeHasNoFinding) {
  EXPECT_EQ(found(), "");
  config_.milter_socket = "inet:10026@127.0.0.1";
  main_["smtpd_milters"] = main_["non_smtpd_milters"] = "inet:127.0.0.1:10026";
  EXPECT_EQ(found(), "");
}

TEST_F(CtlPostfix, NamesEachThingThatPassesBesideTheTunnel) {
  struct Case {
    const char* name;
    std::function<void(CtlPostfix&)> change;
    std::string text;
    std::string remedy;
  };
  const std::vector<Case> cases = {
      {"own milters on a submission service",
       [](CtlPostfix& t) {
         t.site_.servers.push_back(
             {"submission/inet", {{"smtpd_milters", "unix:mua.sock { inet:x:1, a=b }"}}});
       },
       "problem: service submission/inet in master.cf has milters of its own",
       "'submission/inet/smtpd_milters=unix:mua.sock,{inet:x:1,a=b},{unix:bsmtp/milter.sock,"},
      {"no milters at all on a submission service",
       [](CtlPostfix& t) {
         t.site_.servers.push_back({"smtps/inet", {{"receive_override_options", "no_milters"}}});
       },
       "problem: service smtps/inet in master.cf runs no milter", "receive_override_options='"},
      {"no milters, beside other options",
       [](CtlPostfix& t) {
         t.site_.servers.push_back(
             {"smtps/inet", {{"receive_override_options", "no_address_mappings, no_milters"}}});
       },
       "problem: service smtps/inet in master.cf runs no milter",
       "receive_override_options=no_address_mappings'"},
      {"own recipient restrictions",
       [](CtlPostfix& t) {
         t.site_.servers.push_back({"smtps/inet", {{"smtpd_recipient_restrictions", "reject"}}});
       },
       "warning: service smtps/inet in master.cf has its own smtpd_recipient_restrictions",
       "check_recipient_access,regexp:/etc/postfix/bsmtp-access,reject,'"},
      {"a filter before the queue",
       [](CtlPostfix& t) { t.site_.servers[0].own["smtpd_proxy_filter"] = "127.0.0.1:10024"; },
       "problem: service smtp/inet has smtpd_proxy_filter = 127.0.0.1:10024", "content_filter"},
      {"no milter in main.cf", [](CtlPostfix& t) { t.main_["smtpd_milters"] = "unix:dkim.sock"; },
       "problem: smtpd_milters does not name our milter", "last"},
      {"not the last one",
       [](CtlPostfix& t) { t.main_["non_smtpd_milters"] += " inet:127.0.0.1:11332"; },
       "warning: in non_smtpd_milters inet:127.0.0.1:11332 stands behind our milter", "last"},
      {"the way back from a content filter refuses",
       [](CtlPostfix& t) {
         t.main_["content_filter"] = "smtp:[127.0.0.1]:10024";
         t.site_.servers.push_back({"127.0.0.1:10025/inet", {{"smtpd_milters", ""}}});
       },
       "problem: service 127.0.0.1:10025/inet, where the content filter hands mail back, refuses",
       "permit_mynetworks,reject"},
      {"the way back from a content filter runs milters",
       [](CtlPostfix& t) {
         t.site_.servers[0].own["content_filter"] = "smtp:[127.0.0.1]:10024";
         t.site_.servers.push_back(
             {"127.0.0.1:10025/inet", {{"smtpd_recipient_restrictions", "permit_mynetworks"}}});
       },
       "warning: service 127.0.0.1:10025/inet, where the content filter hands mail back, runs our",
       "no_milters"},
      {"a canonical map takes the return addresses",
       [](CtlPostfix& t) {
         t.main_["sender_canonical_maps"] = "hash:/map";
         t.map_["@hub.domain.com"] = "@domain.com";
       },
       "problem: sender_canonical_maps makes @domain.com of bsmtp+probe@hub.domain.com",
       "sender_canonical_maps = regexp:/etc/postfix/bsmtp-keep"},
      {"a virtual catch-all takes the diverted recipients",
       [](CtlPostfix& t) {
         t.main_["virtual_alias_maps"] = "hash:/other, hash:/map";
         t.map_["@remote1.bsmtp.invalid"] = "trap@domain.com";
       },
       "problem: virtual_alias_maps makes trap@domain.com of "
       "user%example.com@remote1.bsmtp.invalid",
       "bsmtp-keep"},
      {"masquerading strips our host",
       [](CtlPostfix& t) { t.main_["masquerade_domains"] = "!x.domain.com domain.com"; },
       "problem: masquerade_domains = ... domain.com strips our host's name",
       "write !hub.domain.com before domain.com"},
      {"an instance that does not know the map",
       [](CtlPostfix& t) { t.main_["multi_instance_directories"] = "/etc/postfix-in"; },
       "problem: instance /etc/postfix-in of multi_instance_directories does not know",
       "postconf -c /etc/postfix-in -e 'relayhost = [hub.domain.com]'"},
      {"an instance that is not enabled",
       [](CtlPostfix& t) {
         t.main_["multi_instance_directories"] = "/etc/postfix-in";
         t.other_["multi_instance_enable"] = "no";
       },
       "warning: instance /etc/postfix-in of multi_instance_directories does not know",
       "before it is enabled"},
      {"an instance that relays to this machine",
       [](CtlPostfix& t) {
         t.main_["multi_instance_directories"] = "/etc/postfix-in";
         t.other_["multi_instance_enable"] = "yes";
         t.other_["relayhost"] = "[127.0.0.1]:10025";
       },
       "warning: instance /etc/postfix-in of multi_instance_directories does not know",
       "reaches the instance with our milter"},
      {"an instance that relays elsewhere",
       [](CtlPostfix& t) {
         t.main_["multi_instance_directories"] = "/etc/postfix-in";
         t.other_["multi_instance_enable"] = "yes";
         t.other_["relayhost"] = "[smart.example]";
       },
       "problem: instance /etc/postfix-in of multi_instance_directories does not know",
       "relayhost = [hub.domain.com]"},
      {"few errors allowed on the listener",
       [](CtlPostfix& t) { t.main_["smtpd_hard_error_limit"] = "20"; },
       "warning: service 127.0.0.1:10027/inet, which takes unpacked mail, has "
       "smtpd_hard_error_limit = 20",
       "run `postconf -P '127.0.0.1:10027/inet/smtpd_hard_error_limit=100000'`"},
      {"a rate for strangers on the listener",
       [](CtlPostfix& t) { t.main_["smtpd_client_message_rate_limit"] = "5"; },
       "warning: service 127.0.0.1:10027/inet, which takes unpacked mail, has "
       "smtpd_client_message_rate_limit = 5",
       "smtpd_client_message_rate_limit=0"},
      {"a trusted listener", [](CtlPostfix& t) { t.main_["mynetworks"] = "127.0.0.0/8"; },
       "warning: service 127.0.0.1:10027/inet, which takes unpacked mail, has a mynetworks",
       "run `postconf -P '127.0.0.1:10027/inet/mynetworks='`"},
  };
  const auto kept = std::tuple(main_, map_, other_, site_.servers);
  for (const Case& c : cases) {
    std::tie(main_, map_, other_, site_.servers) = kept;
    c.change(*this);
    EXPECT_THAT(found(), HasSubstr(c.text)) << c.name;
    EXPECT_THAT(found(), HasSubstr(c.remedy)) << c.name;
  }
}

TEST_F(CtlPostfix, LeavesAloneWhatIsAsItShouldBe) {
  const std::string ours = main_["smtpd_milters"];
  site_.servers.push_back({"submission/inet", {{"smtpd_milters", "unix:mua.sock, " + ours}}});
  site_.servers.push_back({"127.0.0.1:10025/inet",
                           {{"smtpd_recipient_restrictions", "permit_mynetworks, reject"},
                            {"receive_override_options", "no_address_mappings, no_milters"}}});
  main_["content_filter"] = "smtp:[127.0.0.1]:10024";
  main_["sender_canonical_maps"] = main_["canonical_maps"] = "hash:/other, hash:/map";
  map_["bsmtp@hub.domain.com"] = "bsmtp@hub.domain.com";  // before the catch-all
  map_["@hub.domain.com"] = "@domain.com";
  main_["masquerade_domains"] = "!hub.domain.com, domain.com";
  main_["multi_instance_directories"] = "/etc/postfix-in";
  other_["transport_maps"] = "texthash:/var/lib/bsmtp/transport";
  EXPECT_EQ(found(), "");
  other_ = {{"relayhost", "[hub.domain.com]"}};
  EXPECT_EQ(found(), "");
  main_["virtual_alias_maps"] = "hash:/map";
  map_["bsmtp@hub.domain.com"] = "archive@domain.com, BSMTP@hub.domain.com";
  map_["@hub.domain.com"] = "";
  EXPECT_EQ(found(), "");
  main_["mynetworks"] = "127.0.0.0/8";
  main_["smtpd_hard_error_limit"] = "20";
  main_["smtpd_client_message_rate_limit"] = "5";
  site_.servers[1].own = {{"mynetworks", ""},
                          {"smtpd_hard_error_limit", "100000"},
                          {"smtpd_client_event_limit_exceptions", "127.0.0.1,[::1]"}};
  EXPECT_EQ(found(), "");
  // A filter before the queue, set as our remedy says: our milter runs behind it.
  site_.servers[0].own = {{"smtpd_proxy_filter", "127.0.0.1:10024"},
                          {"receive_override_options", "no_milters"}};
  EXPECT_EQ(found(), "");
}

TEST_F(CtlPostfix, KnowsOurMilterHoweverItsSocketIsWritten) {
  const auto knows = [this](const std::string& ours, const std::string& theirs) {
    config_.milter_socket = ours;
    main_["smtpd_milters"] = main_["non_smtpd_milters"] = theirs;
    return found().empty();
  };
  const std::string path = "/var/spool/postfix/bsmtp/milter.sock";
  for (const char* scheme : {"unix:", "local:", "", "UNIX:"}) {
    EXPECT_TRUE(knows(scheme + path, "unix:bsmtp/milter.sock")) << scheme;
    EXPECT_TRUE(knows(scheme + path, "Unix:" + path)) << scheme;
    EXPECT_FALSE(knows(scheme + path, "unix:other/milter.sock")) << scheme;
  }
  EXPECT_TRUE(knows("inet:10026@127.0.0.1", "inet:localhost:10026"));
  EXPECT_TRUE(knows("inet:10026@localhost", "INET:127.0.0.1:10026"));
  EXPECT_TRUE(knows("inet6:10026@[::1]", "inet:[::1]:10026"));
  EXPECT_TRUE(knows("inet:10026@gate.domain.com", "inet:Gate.domain.com:10026"));
  EXPECT_FALSE(knows("inet:10026@127.0.0.1", "inet:localhost:10027"));
  EXPECT_FALSE(knows("inet:10026@127.0.0.1", "inet:gate.domain.com:10026"));
}

}  // namespace
}  // namespace bsmtp::mda::ctl
