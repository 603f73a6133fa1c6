// What config check finds out by talking to the MTA's listeners, against scripted ones.
#include "mda/ctl/ctl_listeners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/smtp_server.h"

namespace bsmtp::mda::ctl {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What the shipped listener says: our own users, nobody else.
std::string shipped(const std::string& command) {
  if (command.starts_with("RCPT") && !command.ends_with("@hub.example>")) {
    return "554 5.7.1 Relay access denied\r\n";
  }
  return "";
}

struct Result {
  std::vector<std::string> lines;  // "problem resubmit: text", for each listener
  std::vector<std::string> heard;  // commands, by the listener for unpacked mail
  std::size_t messages = 0;
};

// Patient, so that a busy machine is not taken for a slow listener.
constexpr ListenerPatience kPatient{std::chrono::seconds(5), std::chrono::seconds(20),
                                    std::chrono::seconds(10)};

Result probe(test::SmtpServer::Options submit, test::SmtpServer::Options resubmit,
             const ListenerPatience& patience = kPatient) {
  test::SmtpServer mta(std::move(submit));
  test::SmtpServer listener(std::move(resubmit));
  config::Config config;
  config.host = "hub.example";
  config.resubmit_helo = "[127.0.0.1]";
  config.submit = "smtp://127.0.0.1:" + std::to_string(mta.port());
  config.resubmit = "smtp://127.0.0.1:" + std::to_string(listener.port());
  config::Peer peer;
  peer.name = "remote1";
  config.peers.push_back(peer);
  Findings findings;
  check_listeners(config, findings, patience);
  Result result;
  for (const Finding& f : findings.take()) {
    constexpr std::array<const char*, 3> kLevels = {"ok", "warning", "problem"};
    EXPECT_TRUE(f.level == Finding::Level::kOk || !f.remedy.empty()) << f.text;
    result.lines.push_back(std::string(kLevels.at(static_cast<std::size_t>(f.level))) + " " +
                           f.about + ": " + f.text);
  }
  result.heard = listener.commands();
  result.messages = mta.messages().size() + listener.messages().size();
  return result;
}

test::SmtpServer::Options saying(test::SmtpServer::Script script) {
  test::SmtpServer::Options options;
  options.script = std::move(script);
  return options;
}

test::SmtpServer::Options offering(std::vector<std::string> ehlo) {
  test::SmtpServer::Options options = saying(shipped);
  options.ehlo = std::move(ehlo);
  return options;
}

TEST(CtlListeners, TheShippedListenersAreFine) {
  const Result result = probe({}, saying(shipped));
  EXPECT_THAT(result.lines, Not(Contains(Not(StartsWith("ok ")))));
  EXPECT_THAT(result.lines, Contains(HasSubstr("takes mail for postmaster@hub.example and relays "
                                               "to no foreign domain")));
  EXPECT_THAT(result.lines, Contains(HasSubstr("SIZE 10240000, 8BITMIME, DSN, PIPELINING, "
                                               "SMTPUTF8")));
}

TEST(CtlListeners, NothingIsSent) {
  const Result result = probe({}, saying(shipped));
  EXPECT_EQ(result.messages, 0U);
  EXPECT_THAT(
      result.heard,
      ::testing::ElementsAre("EHLO [127.0.0.1]", "MAIL FROM:<>", "RCPT TO:<postmaster@hub.example>",
                             "RCPT TO:<probe@example.com>",
                             "RCPT TO:<probe%example.com@remote1.bsmtp.invalid>", "RSET", "QUIT"));
}

TEST(CtlListeners, WhatAListenerMayNotDoIsSeen) {
  struct Case {
    const char* name;
    std::function<std::string(const std::string&)> says;
    const char* expected;
  };
  const auto refuses = [](const char* what, const char* reply) {
    return [what, reply](const std::string& command) {
      return command.find(what) != std::string::npos ? reply : shipped(command);
    };
  };
  const std::vector<Case> cases = {
      {"open relay", [](const std::string&) { return ""; },
       "problem resubmit: would relay to probe@example.com: peers could"},
      {"the inner side", refuses("bsmtp.invalid", "250 ok\r\n"),
       "problem resubmit: would relay to probe%example.com@remote1.bsmtp.invalid"},
      {"relaying refused for now", refuses("example.com", "454 4.7.1 Relay access denied\r\n"),
       "warning resubmit: refuses to relay to probe@example.com only for now: 454 4.7.1"},
      {"own users refused", refuses("postmaster", "550 5.7.1 go away\r\n"),
       "problem resubmit: refuses postmaster@hub.example: 550 5.7.1 go away"},
      {"own users refused for now", refuses("postmaster", "450 4.2.0 greylisted\r\n"),
       "warning resubmit: refuses postmaster@hub.example: 450 4.2.0 greylisted"},
      {"null sender", refuses("MAIL", "550 5.1.0 no reports here\r\n"),
       "problem resubmit: refuses the null sender, which reports have: 550 5.1.0"},
      {"a session that ends at an error", refuses("probe@", "CLOSE"),
       "warning resubmit: the session broke off"},
      {"busy", refuses("<connect>", "421 4.3.2 too many connections\r\n"),
       "warning resubmit: it greets with 421 4.3.2"},
      {"no SMTP", refuses("EHLO", "what?\r\n"), "warning resubmit: "},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(probe({}, saying(c.says)).lines, Contains(HasSubstr(c.expected)));
  }
}

TEST(CtlListeners, AListenerThatTakesItsTimeIsSeen) {
  const auto slow = [](std::string_view at) {
    return [at](const std::string& command) {
      if (command.starts_with(at)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
      }
      return shipped(command);
    };
  };
  ListenerPatience patience = kPatient;
  patience.refusal = std::chrono::milliseconds(200);
  EXPECT_THAT(probe({}, saying(slow("RCPT TO:<probe@")), patience).lines,
              Contains(StartsWith("warning resubmit: refusals are held back")));
  patience.reply = std::chrono::milliseconds(100);
  EXPECT_THAT(probe({}, saying(slow("EHLO")), patience).lines,
              Contains(StartsWith("warning resubmit: ")));
}

TEST(CtlListeners, WhatIsNotAnnouncedIsSaid) {
  const Result bare = probe(offering({"SIZE 1000000"}), offering({"SIZE 1000000"}));
  for (const char* expected : {
           "problem submit: it announces SIZE 1000000, but max-bytes lets parcels of",
           "warning submit: it does not offer PIPELINING",
           "warning resubmit: it announces SIZE 1000000, but max-bytes lets messages of",
           "warning resubmit: it does not offer 8BITMIME",
           "warning resubmit: it does not offer DSN",
           "warning resubmit: it does not offer PIPELINING",
           "ok resubmit: smtp://127.0.0.1:",
       }) {
    EXPECT_THAT(bare.lines, Contains(StartsWith(expected)));
  }
  EXPECT_THAT(bare.lines, Contains(HasSubstr("no SMTPUTF8: such mail comes home")));
  const Result unlimited = probe(offering({"SIZE", "PIPELINING", "8BITMIME", "DSN"}),
                                 offering({"PIPELINING", "8BITMIME", "DSN"}));
  EXPECT_THAT(unlimited.lines, Not(Contains(Not(StartsWith("ok ")))));
}

TEST(CtlListeners, NobodyListens) {
  config::Config config;
  config.host = "hub.example";
  config.submit = "smtp://127.0.0.1:1";
  config.resubmit = "smtp:/nonsense";
  Findings findings;
  check_listeners(config, findings);
  const auto list = findings.take();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].level, Finding::Level::kWarning);
  EXPECT_THAT(list[0].remedy, HasSubstr("--offline"));
  EXPECT_EQ(list[1].level, Finding::Level::kProblem);
}

}  // namespace
}  // namespace bsmtp::mda::ctl
