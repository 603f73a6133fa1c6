#include "common/smtp/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/unit/common/smtp/client_session.h"

namespace bsmtp::smtp {
namespace {

TEST(Client, DeliversWithAllAnnouncedParameters) {
  Session session;
  ASSERT_TRUE(session.opened().is_ok()) << session.opened().to_string();
  EXPECT_TRUE(session.client().extensions().pipelining);
  EXPECT_EQ(session.client().extensions().max_size, 10240000U);
  mail::Envelope envelope = envelope_to({"bob@y"});
  envelope.size = 9;
  envelope.body = "8BITMIME";
  envelope.ret = "HDRS";
  envelope.envid = "E1";
  envelope.recipients[0].notify = "FAILURE";
  envelope.recipients[0].orcpt = "rfc822;b+40y";
  const Delivery got = send_text(session.client(), envelope, "..x\r\ny\xFF\r\n");
  EXPECT_EQ(got.outcome, Outcome::kDone);
  EXPECT_EQ(got.accepted(), 1U);
  EXPECT_EQ(got.final_reply.code, 250);
  EXPECT_EQ(got.recipients[0].stage, Stage::kText);
  EXPECT_TRUE(got.dsn_passed_on);
  EXPECT_EQ(got.text_octets, 9U);
  EXPECT_TRUE(session.client().usable());
  const auto messages = session.done().messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].mail, "MAIL FROM:<ann@domain.com> SIZE=9 BODY=8BITMIME RET=HDRS ENVID=E1");
  EXPECT_EQ(messages[0].rcpts[0], "RCPT TO:<bob@y> NOTIFY=FAILURE ORCPT=rfc822;b+40y");
  EXPECT_EQ(messages[0].text, "..x\r\ny\xFF\r\n");  // not stuffed again
  EXPECT_TRUE(messages[0].ended);
}

TEST(Client, SendsOnlyWhatWasAnnounced) {
  SmtpServer::Options bare;
  bare.ehlo = {};
  Session session(bare);
  mail::Envelope envelope = envelope_to({"bob@y"});
  envelope.size = 3;
  envelope.body = "7BIT";
  envelope.ret = "HDRS";
  envelope.envid = "E1";
  envelope.recipients[0].notify = "FAILURE";
  const Delivery got = send_text(session.client(), envelope, "x\r\n");
  EXPECT_EQ(got.accepted(), 1U);
  EXPECT_FALSE(got.dsn_passed_on);
  const auto messages = session.done().messages();
  EXPECT_EQ(messages[0].mail, "MAIL FROM:<ann@domain.com>");
  EXPECT_EQ(messages[0].rcpts[0], "RCPT TO:<bob@y>");
}

TEST(Client, RefusesLocallyWhatTheServerCannotTake) {
  const struct {
    const char* name;
    void (*change)(mail::Envelope&);
    const char* code;
  } cases[] = {
      {"8BITMIME missing", [](mail::Envelope& e) { e.body = "8BITMIME"; }, "4.6.3"},
      {"SMTPUTF8 missing", [](mail::Envelope& e) { e.smtputf8 = true; }, "5.6.7"},
      {"UTF-8 address", [](mail::Envelope& e) { e.sender = "j\xC3\xBC@x"; }, "5.6.7"},
      {"too big", [](mail::Envelope& e) { e.size = 1001; }, "5.3.4"},
      {"unknown parameter",
       [](mail::Envelope& e) {
         e.other = {{"REQUIRETLS", "", false}};
       },
       "5.5.4"},
      {"unsafe sender", [](mail::Envelope& e) { e.sender = "a>\r\nDATA"; }, "5.1.7"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    SmtpServer::Options options;
    options.ehlo = {"SIZE 1000"};
    Session session(options);
    mail::Envelope envelope = envelope_to({"bob@y"});
    c.change(envelope);
    const Delivery got = send_text(session.client(), envelope, "x\r\n");
    EXPECT_EQ(got.outcome, Outcome::kDone);
    EXPECT_EQ(got.recipients[0].stage, Stage::kLocal);
    EXPECT_EQ(got.recipients[0].status.code(), c.code);
    EXPECT_EQ(got.recipients[0].status.is_permanent(), c.code[0] == '5');
    EXPECT_TRUE(session.client().usable());
    EXPECT_TRUE(session.done().messages().empty());
  }
}

TEST(Client, TellsEachRecipientsFate) {
  for (const bool pipelining : {true, false}) {
    Client::Options options = Session::defaults();
    options.pipelining = pipelining;
    Session session(scripted([](const std::string& command) -> std::string {
                      if (command == "RCPT TO:<no@y>") return "550 5.1.1 no such user\r\n";
                      if (command == "RCPT TO:<later@y>") return "450 4.2.0 try later\r\n";
                      if (command == "RCPT TO:<full@y>") return "452 4.5.3 too many\r\n";
                      return "";
                    }),
                    options);
    const Delivery got = send_text(
        session.client(), envelope_to({"yes@y", "no@y", "later@y", "full@y", "also@y"}), "x\r\n");
    EXPECT_EQ(got.outcome, Outcome::kDone);
    EXPECT_EQ(got.accepted(), 2U);
    EXPECT_EQ(got.recipients[1].status.code(), "5.1.1");
    EXPECT_EQ(got.recipients[1].stage, Stage::kRcpt);
    EXPECT_TRUE(got.recipients[2].status.is_temporary());
    EXPECT_TRUE(got.recipients[3].too_many_recipients);
    EXPECT_FALSE(got.recipients[2].too_many_recipients);
    EXPECT_TRUE(got.recipients[4].status.is_ok());
    EXPECT_EQ(session.done().messages().size(), 1U);
  }
}

TEST(Client, AFullTransactionIsNoFaultOfTheAddress) {
  const struct {
    const char* reply;
    bool first;  // nobody was accepted before it
    bool too_many;
  } cases[] = {{"552 too many recipients", false, true}, {"552 too many recipients", true, false},
               {"552 5.5.3 too many", false, true},      {"550 5.5.3 too many", false, true},
               {"550 5.5.3 too many", true, false},      {"552 5.2.2 mailbox full", false, false},
               {"550 no such user", false, false},       {"452 4.5.3 too many", true, true}};
  for (const auto& row : cases) {
    SCOPED_TRACE(row.reply);
    Session session(scripted([&](const std::string& command) -> std::string {
      return command == "RCPT TO:<full@y>" ? std::string(row.reply) + "\r\n" : "";
    }));
    const auto envelope =
        row.first ? envelope_to({"full@y", "yes@y"}) : envelope_to({"yes@y", "full@y"});
    const Delivery got = send_text(session.client(), envelope, "x\r\n");
    EXPECT_EQ(got.accepted(), 1U);
    EXPECT_EQ(got.recipients[row.first ? 0 : 1].too_many_recipients, row.too_many);
    session.done();
  }
}

TEST(Client, RefusedMailOrDataIsEverybodysFate) {
  const struct {
    const char* name;
    const char* command;
    const char* reply;
    const char* code;
    Stage stage;
  } cases[] = {
      {"MAIL 5yz", "MAIL FROM:<ann@domain.com>", "550 5.7.1 no\r\n", "5.7.1", Stage::kMail},
      {"MAIL 4yz", "MAIL FROM:<ann@domain.com>", "451 4.3.0 no\r\n", "4.3.0", Stage::kMail},
      {"DATA 4yz", "DATA", "451 4.3.0 no\r\n", "4.3.0", Stage::kData},
      {"DATA 2yz", "DATA", "250 what\r\n", "4.5.0", Stage::kData},
      {"text 5yz", "<text>", "554 5.6.0 bad content\r\n", "5.6.0", Stage::kText},
      {"text 4yz", "<text>", "451 4.7.1 greylisted\r\n", "4.7.1", Stage::kText},
  };
  for (const auto& c : cases) {
    for (const bool pipelining : {true, false}) {
      SCOPED_TRACE(c.name);
      Client::Options options = Session::defaults();
      options.pipelining = pipelining;
      Session session(answering(c.command, c.reply), options);
      const Delivery got = send_text(session.client(), envelope_to({"a@y", "b@y"}), "x\r\n");
      EXPECT_EQ(got.outcome, Outcome::kDone);
      for (const RecipientResult& result : got.recipients) {
        EXPECT_EQ(result.status.code(), c.code);
        EXPECT_EQ(result.stage, c.stage);
      }
    }
  }
}

TEST(Client, GoesOnWithTheNextMessageAfterARefusal) {
  Session session(answering("RCPT TO:<no@y>", "550 5.1.1 no\r\n"));
  EXPECT_EQ(send_text(session.client(), envelope_to({"no@y"}), "a\r\n").accepted(), 0U);
  ASSERT_TRUE(session.client().usable());
  EXPECT_EQ(send_text(session.client(), envelope_to({"yes@y"}), "b\r\n").accepted(), 1U);
  EXPECT_EQ(send_text(session.client(), envelope_to({"yes@y"}), "c\r\n").accepted(), 1U);
  SmtpServer& server = session.done();
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].text, "b\r\n");
  const auto commands = server.commands();
  EXPECT_EQ(std::count(commands.begin(), commands.end(), "RSET"), 1);
}

TEST(Client, EndsADataThatWasAcceptedForNobody) {
  // A server that says 354 although every pipelined RCPT failed (RFC 2920 3.1).
  Session session(scripted([](const std::string& command) -> std::string {
    if (command.starts_with("RCPT")) return "550 5.1.1 no\r\n";
    if (command == "DATA") return "354 go\r\n";
    if (command == "<text>") return "554 5.5.1 no recipients\r\n";
    return "";
  }));
  const Delivery got = send_text(session.client(), envelope_to({"a@y"}), "secret\r\n");
  EXPECT_EQ(got.recipients[0].status.code(), "5.1.1");
  EXPECT_TRUE(session.client().usable());
  const auto messages = session.done().messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].text, "");
}

TEST(Client, PipelinesInWindows) {
  std::vector<std::string> many;
  for (int i = 0; i < 120; ++i) {
    many.push_back("r" + std::to_string(i) + "@y");
  }
  Session session;
  EXPECT_EQ(send_text(session.client(), envelope_to(many), "x\r\n").accepted(), 120U);
  SmtpServer& server = session.done();
  EXPECT_EQ(server.commands().size(), 1U + 1U + 120U + 1U + 1U);
  EXPECT_LE(server.reads(), 12U);  // not one per command
  EXPECT_EQ(server.messages()[0].rcpts.size(), 120U);
}

TEST(Client, A421EndsTheSessionAndIsTemporary) {
  for (const char* command : {"MAIL FROM:<ann@domain.com>", "RCPT TO:<b@y>", "DATA", "<text>"}) {
    SCOPED_TRACE(command);
    Session session(answering(command, "421 4.3.2 shutting down\r\n"));
    const Delivery got = send_text(session.client(), envelope_to({"a@y", "b@y", "c@y"}), "x\r\n");
    EXPECT_EQ(got.outcome, Outcome::kDone);
    for (const RecipientResult& result : got.recipients) {
      EXPECT_TRUE(result.status.is_temporary());
      EXPECT_EQ(result.reply.code, 421);
    }
    EXPECT_FALSE(session.client().usable());
    EXPECT_EQ(send_text(session.client(), envelope_to({"a@y"}), "x\r\n").outcome,
              Outcome::kNotSent);
  }
}

TEST(Client, ALostConnectionBeforeTheEndDotIsSurelyNotSent) {
  for (const char* command : {"MAIL FROM:<ann@domain.com>", "RCPT TO:<a@y>", "DATA"}) {
    SCOPED_TRACE(command);
    Session session(answering(command, "CLOSE"));
    const Delivery got = send_text(session.client(), envelope_to({"a@y"}), "x\r\n");
    EXPECT_EQ(got.outcome, Outcome::kNotSent);
    EXPECT_TRUE(got.recipients[0].status.is_temporary());
    EXPECT_FALSE(session.client().usable());
  }
}

TEST(Client, ALostConnectionAfterTheEndDotIsAmbiguous) {
  for (const char* reply : {"CLOSE", "what?\r\n", "354 more\r\n"}) {
    Session session(answering("<text>", reply));
    const Delivery got = send_text(session.client(), envelope_to({"a@y"}), "x\r\n");
    EXPECT_EQ(got.outcome, Outcome::kAmbiguous) << reply;
    EXPECT_TRUE(got.recipients[0].status.is_temporary());
    EXPECT_EQ(got.final_reply.code, 0);
    EXPECT_FALSE(session.client().usable());
  }
}

TEST(Client, AServerThatClosesInTheTextDidNotAccept) {
  SmtpServer::Options options;
  options.close_in_text_after = 100000;
  Session session(options);
  std::string text;
  while (text.size() < 20'000'000) {
    text += std::string(998, 'x') + "\r\n";
  }
  const Delivery got = send_text(session.client(), envelope_to({"a@y"}), text);
  EXPECT_EQ(got.outcome, Outcome::kNotSent);
  EXPECT_TRUE(got.recipients[0].status.is_temporary());
}

TEST(Client, DropsTheConnectionOnTextThatCouldEndEarly) {
  const struct {
    const char* name;
    std::string text;
    const char* code;
  } cases[] = {
      {"end dot inside", "a\r\n.\r\nMAIL FROM:<>\r\n", "5.6.0"},
      {"no final line end", "a", "5.6.0"},
      {"dot at the end", "a\r\n.", "5.6.0"},
      {"bare LF", "a\nb\r\n", "5.6.1"},
      {"bare CR", "a\rb\r\n", "5.6.1"},
      {"NUL", std::string("a\0\r\n", 4), "5.6.1"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Session session;
    const Delivery got = send_text(session.client(), envelope_to({"a@y"}), c.text);
    EXPECT_EQ(got.outcome, Outcome::kNotSent);
    EXPECT_EQ(got.recipients[0].stage, Stage::kLocal);
    EXPECT_EQ(got.recipients[0].status.code(), c.code);
    EXPECT_FALSE(session.client().usable());
    for (const auto& message : session.done().messages()) {
      EXPECT_FALSE(message.ended);
    }
  }
}

TEST(Client, AFailingWriterLeavesTheMessageUnsent) {
  Session session(answering("RCPT TO:<no@y>", "550 5.1.1 no\r\n"));
  const Delivery got =
      session.client().send(envelope_to({"a@y", "no@y"}), [](Sink& sink) -> Status {
        TRY(sink.write("half\r\n"));
        return Status::temporary("4.3.0", "disk trouble");
      });
  EXPECT_EQ(got.outcome, Outcome::kNotSent);
  EXPECT_EQ(got.recipients[0].status.text(), "disk trouble");
  EXPECT_EQ(got.recipients[1].status.code(), "5.1.1");  // its own refusal stands
  EXPECT_FALSE(session.client().usable());
  for (const auto& message : session.done().messages()) {
    EXPECT_FALSE(message.ended);
  }
}

TEST(Client, SendsEmptyTextFromTheNullSender) {
  Session session;
  mail::Envelope envelope = envelope_to({"a@y"});
  envelope.sender.clear();
  EXPECT_EQ(send_text(session.client(), envelope, "").accepted(), 1U);
  EXPECT_EQ(session.done().messages()[0].mail, "MAIL FROM:<>");
  EXPECT_EQ(session.done().messages()[0].text, "");
}

TEST(Client, OpenIsTemporaryWhateverTheServerSays) {
  const struct {
    const char* name;
    const char* command;
    const char* reply;
  } cases[] = {
      {"greeting 554", "<connect>", "554 5.7.1 go away\r\n"},
      {"greeting 421", "<connect>", "421 busy\r\n"},
      {"no greeting", "<connect>", "CLOSE"},
      {"not SMTP", "<connect>", "+OK POP3\r\n"},
      {"EHLO 4yz", "EHLO hub.domain.com", "451 no\r\n"},
  };
  for (const auto& c : cases) {
    Session session(answering(c.command, c.reply));
    EXPECT_TRUE(session.opened().is_temporary()) << c.name;
    EXPECT_FALSE(session.client().usable()) << c.name;
  }
  Session refused(scripted([](const std::string& command) {
    return command.find("LO ") == 2 ? std::string("550 5.7.1 no\r\n") : std::string();
  }));
  EXPECT_TRUE(refused.opened().is_temporary());
}

TEST(Client, FallsBackToHelo) {
  Session session(answering("EHLO hub.domain.com", "500 5.5.2 unknown\r\n"));
  ASSERT_TRUE(session.opened().is_ok());
  EXPECT_FALSE(session.client().extensions().pipelining);
  EXPECT_EQ(send_text(session.client(), envelope_to({"a@y"}), "x\r\n").accepted(), 1U);
}

TEST(Client, GivesUpOnASilentServer) {
  Client::Options options = Session::defaults();
  options.timeouts.data_end = std::chrono::seconds(1);
  Session session(answering("<text>", "SLEEP 1500"), options);
  const Delivery got = send_text(session.client(), envelope_to({"a@y"}), "x\r\n");
  EXPECT_EQ(got.outcome, Outcome::kAmbiguous);
}

}  // namespace
}  // namespace bsmtp::smtp
