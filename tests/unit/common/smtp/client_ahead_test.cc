// Commands of the next message sent with the end of this one (RFC 2920 3.1).
#include <gtest/gtest.h>

#include <algorithm>

#include "common/smtp/client.h"
#include "tests/unit/common/smtp/client_session.h"

namespace bsmtp::smtp {
namespace {

std::size_t finished(const SmtpServer& server) {
  const auto messages = server.messages();
  return static_cast<std::size_t>(
      std::count_if(messages.begin(), messages.end(), [](const auto& m) { return m.ended; }));
}

// Sends `first` and names `second` as the next one.
Delivery send_with_next(Client& client, const mail::Envelope& first, const mail::Envelope& second) {
  Client::Hooks hooks;
  hooks.next = [&] { return &second; };
  return client.send(
      first, [](Sink& sink) { return sink.write("1\r\n"); }, hooks);
}

TEST(ClientAhead, SendsTheNextCommandsWithTheEndDot) {
  Session session;
  const mail::Envelope first = envelope_to({"a@y"});
  const mail::Envelope second = envelope_to({"b@y", "c@y"});
  EXPECT_EQ(send_with_next(session.client(), first, second).accepted(), 1U);
  EXPECT_EQ(send_text(session.client(), second, "2\r\n").accepted(), 2U);
  EXPECT_EQ(send_text(session.client(), first, "3\r\n").accepted(), 1U);
  SmtpServer& server = session.done();
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].text, "1\r\n");
  EXPECT_EQ(messages[1].text, "2\r\n");
  EXPECT_EQ(messages[1].rcpts.size(), 2U);
  EXPECT_EQ(messages[2].text, "3\r\n");
  const std::vector<std::string> ahead = {"MAIL FROM:<ann@domain.com>", "RCPT TO:<b@y>",
                                          "RCPT TO:<c@y>", "DATA"};
  const auto commands = server.commands();
  ASSERT_EQ(commands.size(), 12U);  // none twice
  EXPECT_TRUE(std::equal(ahead.begin(), ahead.end(), commands.begin() + 4));
  // EHLO; commands; text and commands; text; commands; text; QUIT.
  EXPECT_LE(server.reads(), 7U);
}

TEST(ClientAhead, TheNextMessageGoesOnWhenThisOneIsRefused) {
  int texts = 0;
  Session session(scripted([&](const std::string& command) {
    return command == "<text>" && ++texts == 1 ? std::string("554 5.7.1 no\r\n") : std::string();
  }));
  const mail::Envelope second = envelope_to({"b@y"});
  const Delivery refused = send_with_next(session.client(), envelope_to({"a@y"}), second);
  EXPECT_EQ(refused.recipients[0].status.code(), "5.7.1");
  EXPECT_EQ(send_text(session.client(), second, "2\r\n").accepted(), 1U);
}

TEST(ClientAhead, RefusalsOfWhatWentAheadAreItsOwn) {
  const struct {
    const char* name;
    const char* command;
    const char* reply;
    Stage stage;
  } cases[] = {
      {"sender", "MAIL FROM:<eve@domain.com>", "550 5.7.1 no\r\n", Stage::kMail},
      {"recipient, DATA refused", "RCPT TO:<b@y>", "550 5.1.1 no\r\n", Stage::kRcpt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Session session(answering(c.command, c.reply));
    mail::Envelope second = envelope_to({"b@y"});
    second.sender = "eve@domain.com";
    EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), second).accepted(), 1U);
    const Delivery got = send_text(session.client(), second, "2\r\n");
    EXPECT_EQ(got.outcome, Outcome::kDone);
    EXPECT_EQ(got.recipients[0].stage, c.stage);
    EXPECT_TRUE(got.recipients[0].status.is_permanent());
    if (session.client().usable()) {
      EXPECT_EQ(send_text(session.client(), envelope_to({"c@y"}), "3\r\n").accepted(), 1U);
    }
    for (const auto& message : session.done().messages()) {
      EXPECT_NE(message.text, "2\r\n");
    }
  }
}

TEST(ClientAhead, ALostReplyLeavesOnlyThisMessageInDoubt) {
  Session session(answering("<text>", "CLOSE"));
  const mail::Envelope second = envelope_to({"b@y"});
  EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), second).outcome,
            Outcome::kAmbiguous);
  EXPECT_FALSE(session.client().usable());
  EXPECT_EQ(send_text(session.client(), second, "2\r\n").outcome, Outcome::kNotSent);
}

TEST(ClientAhead, AConnectionLostBetweenTheTwoLeavesTheNextUnsent) {
  for (const char* reply : {"CLOSE", "421 4.3.2 going down\r\n"}) {
    SCOPED_TRACE(reply);
    Session session(answering("RCPT TO:<b@y>", reply));
    const mail::Envelope second = envelope_to({"b@y"});
    EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), second).accepted(), 1U);
    const Delivery got = send_text(session.client(), second, "2\r\n");
    EXPECT_TRUE(got.recipients[0].status.is_temporary());
    EXPECT_EQ(got.accepted(), 0U);
    EXPECT_FALSE(session.client().usable());
    EXPECT_EQ(finished(session.done()), 1U);
  }
}

TEST(ClientAhead, AnotherMessageThanAnnouncedDropsTheConnection) {
  Session session;
  EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), envelope_to({"b@y"})).accepted(),
            1U);
  const Delivery got = send_text(session.client(), envelope_to({"c@y"}), "3\r\n");
  EXPECT_EQ(got.outcome, Outcome::kNotSent);
  EXPECT_TRUE(got.recipients[0].status.is_temporary());
  EXPECT_FALSE(session.client().usable());
  EXPECT_EQ(finished(session.done()), 1U);
}

TEST(ClientAhead, QuitNeverBecomesText) {
  Session session;
  EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), envelope_to({"b@y"})).accepted(),
            1U);
  SmtpServer& server = session.done();
  const auto commands = server.commands();  // how many depends on when it saw the end
  EXPECT_EQ(std::count(commands.begin(), commands.end(), "QUIT"), 0);
  EXPECT_EQ(finished(server), 1U);
  for (const auto& message : server.messages()) {
    EXPECT_EQ(message.text.find("QUIT"), std::string::npos);
  }
}

TEST(ClientAhead, NothingGoesAheadWhereItMayNot) {
  SmtpServer::Options plain;
  plain.ehlo = {"8BITMIME"};
  Client::Options narrow = Session::defaults();
  narrow.window = 3;
  const struct {
    const char* name;
    SmtpServer::Options server;
    Client::Options client;
    mail::Envelope second;
  } cases[] = {
      {"PIPELINING not announced", plain, Session::defaults(), envelope_to({"b@y"})},
      {"more commands than the window", {}, narrow, envelope_to({"b@y", "c@y"})},
      {"nobody to send to", {}, Session::defaults(), envelope_to({"b>@y"})},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Session session(c.server, c.client);
    EXPECT_EQ(send_with_next(session.client(), envelope_to({"a@y"}), c.second).accepted(), 1U);
    EXPECT_EQ(send_text(session.client(), envelope_to({"d@y"}), "2\r\n").accepted(), 1U);
    EXPECT_EQ(session.done().commands().back(), "QUIT");
  }
}

TEST(Client, CallsMeanwhileBeforeEachWait) {
  Session session;
  int calls = 0;
  Client::Hooks hooks;
  hooks.meanwhile = [&] { ++calls; };
  const Delivery got = session.client().send(
      envelope_to({"a@y"}),
      [&](Sink& sink) {
        EXPECT_EQ(calls, 1);
        return sink.write("1\r\n");
      },
      hooks);
  EXPECT_EQ(got.accepted(), 1U);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace bsmtp::smtp
