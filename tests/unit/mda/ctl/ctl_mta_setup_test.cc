// What `bsmtpctl postfix|sendmail enable|disable` prints, against the documents that it repeats.
#include "mda/ctl/ctl_mta_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "common/base/text.h"
#include "common/base/version.h"

namespace bsmtp::mda::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The documents' hub.
config::Config hub() {
  config::Config config;
  config.host = "hub.domain.com";
  config.milter_socket = "unix:/var/spool/postfix/bsmtp/milter.sock";
  config.export_transport = "bsmtp-out-lmtp:unix:private/bsmtp-out-agent";
  config::Peer& peer = config.peers.emplace_back();
  peer.name = "remote1";
  peer.user = "bsmtp";
  peer.host = "athena.domain.co.uk";
  return config;
}

// All blanks and line ends as one blank, the data directory as after the recipes' installation, and
// without the shell's continuation of lines.
std::string plain(std::string text) {
  const std::string data = kDataDirectory;
  const std::string usual = "/usr/share/bsmtp-tunnel";
  for (std::size_t at = 0; (at = text.find(data, at)) != std::string::npos; at += usual.size()) {
    text.replace(at, data.size(), usual);
  }
  std::string out;
  for (const std::string_view word : split_blank(text)) {
    out += word == "\\" ? "" : str_cat({word, " "});
  }
  return out;
}

std::string document(const std::string& name) {
  std::ifstream file(std::string(BSMTP_SOURCE_DIR) + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  for (char& c : all) {
    c = c == '\n' ? ' ' : c;
  }
  return plain(all);
}

// Lines of a script that its document does not have; guards, comments and `extra` aside.
std::string unknown_lines(const std::string& script, const std::string& document_text,
                          const std::vector<std::string>& extra) {
  std::string unknown;
  for (const std::string_view line : split(script, '\n')) {
    const bool ours = line.empty() || line.starts_with('#') || line.starts_with("if ") ||
                      std::find(extra.begin(), extra.end(), line) != extra.end();
    if (!ours && document_text.find(plain(std::string(line))) == std::string::npos) {
      unknown += str_cat({line, "\n"});
    }
  }
  return unknown;
}

TEST(CtlMtaSetup, PostfixIsSetUpAsReadmeSays) {
  EXPECT_EQ(unknown_lines(postfix_enable_script(hub()), document("README.md"), {}), "");
  EXPECT_THAT(postfix_enable_script(hub()), Not(HasSubstr("# Mind")));
}

TEST(CtlMtaSetup, PostfixIsFreedAsTheDocumentSays) {
  EXPECT_EQ(unknown_lines(postfix_disable_script(hub()), document("docs/install-postfix.md"), {}),
            "");
}

TEST(CtlMtaSetup, SendmailIsSetUpAsTheDocumentSays) {
  config::Config config = hub();
  config.milter_socket = "unix:/run/bsmtp/milter.sock";
  std::string script = sendmail_enable_script(config);
  const std::string host = ", \\`host=hub.domain.com'";  // the default there, if $j is right
  ASSERT_THAT(script, HasSubstr(host));
  script.erase(script.find(host), host.size());
  EXPECT_EQ(unknown_lines(script, document("docs/install-sendmail.md"), {}), "");
}

TEST(CtlMtaSetup, OwnNamesStandWhereTheyBelong) {
  config::Config config = hub();
  config.user = "tun.nel";
  config.export_transport = config::Config().export_transport;  // by pipe
  config.resubmit = "smtp://[::1]:2600";
  EXPECT_THAT(postfix_enable_script(config),
              HasSubstr("/^tun\\.nel(\\+[^@]*)?@hub\\.domain\\.com$/  bsmtp-in:\n"));
  EXPECT_THAT(postfix_enable_script(config), HasSubstr("# Mind: postfix/master.cf has "));
  EXPECT_THAT(postfix_disable_script(config), HasSubstr(" [::1]:2600/inet\n"));
  config.milter_socket = "unix:/run/x.sock";
  config.socketmap_socket = "unix:/run/map.sock";
  EXPECT_THAT(sendmail_enable_script(config),
              HasSubstr("FEATURE(\\`bsmtp', \\`host=hub.domain.com', \\`user=tun.nel', "
                        "\\`socket=unix:/run/x.sock', \\`socketmap=unix:/run/map.sock', "
                        "\\`listen=::1', \\`port=2600')dnl"));
  EXPECT_THAT(postfix_enable_script(config), HasSubstr("# Mind: postfix/main.cf has unix:/var"));
}

}  // namespace
}  // namespace bsmtp::mda::ctl
