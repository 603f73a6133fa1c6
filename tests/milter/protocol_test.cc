// The real program as an MTA sees it: negotiation, what it changes and in which order, what it
// does when something is wrong.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "tests/milter/running_milter.h"

namespace bsmtp::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Outcome message(MilterClient& client, const std::vector<std::vector<std::string>>& recipients,
                const std::string& sender = "<alice@domain.com>") {
  auto outcome = client.message({sender, "SIZE=100"}, recipients);
  if (!outcome.is_ok()) {
    ADD_FAILURE() << outcome.status().to_string();
    return {};
  }
  return std::move(outcome).value();
}

TEST(MilterProtocol, AsksOnlyForWhatItNeeds) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  EXPECT_EQ(client.actions(),
            kActAddRecipient | kActDeleteRecipient | kActAddRecipientPar | kActSetSymbolList);
  for (const std::uint32_t step :
       {kStepNoHelo, kStepNoHeaders, kStepNoEndOfHeader, kStepNoBody, kStepNoData,
        kStepQuietConnect, kStepQuietMail, kStepQuietRcpt}) {
    EXPECT_NE(client.steps() & step, 0U) << std::hex << step;
  }
  EXPECT_EQ(client.symbols().at(0), "{daemon_name} {daemon_port}");
  EXPECT_EQ(client.symbols().at(2), "{auth_authen} {auth_type}");
  EXPECT_EQ(client.symbols().at(5), "i");
}

TEST(MilterProtocol, RefusesAnMtaThatCannotEditRecipients) {
  const RunningMilter milter;
  for (const std::uint32_t missing : {kActAddRecipient, kActDeleteRecipient, kActAddRecipientPar}) {
    auto client = milter.open();
    ASSERT_TRUE(client.is_ok());
    EXPECT_FALSE(client->negotiate(kAllActions & ~missing).is_ok()) << missing;
    EXPECT_TRUE(client->closed());
  }
  EXPECT_TRUE(milter.logs("does not let a milter add recipients"));
}

TEST(MilterProtocol, ServesAnMtaWithoutQuietStepsAndSymbolLists) {
  const RunningMilter milter;
  auto client = milter.open();
  ASSERT_TRUE(client.is_ok());
  ASSERT_TRUE(client->negotiate(kAllActions & ~kActSetSymbolList, 0x3FF).is_ok());
  EXPECT_EQ(client->steps() & kStepQuietRcpt, 0U);
  EXPECT_EQ(client->connect().value(), 'c');
  const Outcome outcome = message(*client, {{"<u@domain.co.uk>"}});
  EXPECT_EQ(outcome.reply, 'c');
  EXPECT_EQ(outcome.added.size(), 1U);
}

TEST(MilterProtocol, AddsBeforeItDeletes) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  client.set_macros('E', {{"i", "4bQ7xk1Z"}});
  const Outcome outcome =
      message(client, {{"<bob@domain.com>"},
                       {"<@relay.x:u1@domain.co.uk>", "NOTIFY=SUCCESS", "ORCPT=rfc822;o@x"},
                       {"<u2@domain.co.uk>"}});
  EXPECT_EQ(outcome.reply, 'c');
  EXPECT_EQ(outcome.order, "22---");
  ASSERT_EQ(outcome.added.size(), 2U);
  EXPECT_EQ(outcome.added[0].address, "<u1%domain.co.uk@remote1.bsmtp.invalid>");
  EXPECT_EQ(outcome.added[0].args, "NOTIFY=SUCCESS ORCPT=rfc822;o@x");
  EXPECT_EQ(outcome.added[1].args, "ORCPT=rfc822;u2@domain.co.uk");
  EXPECT_THAT(outcome.deleted,
              testing::UnorderedElementsAre("<@relay.x:u1@domain.co.uk>", "<u1@domain.co.uk>",
                                            "<u2@domain.co.uk>"));
  EXPECT_TRUE(milter.logs("4bQ7xk1Z: diverted"));
}

TEST(MilterProtocol, LogsAtMostThreeLinesForAMessage) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  client.set_macros('E', {{"i", "QMANY"}});
  std::vector<std::vector<std::string>> recipients;
  for (int i = 0; i < 50; ++i) {
    recipients.push_back({"<u" + std::to_string(i) + "@domain.co.uk>"});
  }
  EXPECT_EQ(message(client, recipients).added.size(), 50U);
  EXPECT_TRUE(milter.logs("recipients=48"));
  const std::string log = milter.log();
  std::size_t lines = 0;
  for (std::size_t at = log.find("QMANY"); at != std::string::npos;
       at = log.find("QMANY", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 3U);
}

TEST(MilterProtocol, TenThousandRecipientsOfOneMessageAreAllLookedAt) {
  constexpr int kRecipients = 10000;
  const RunningMilter milter;
  MilterClient client = milter.client();
  std::vector<std::vector<std::string>> recipients;
  for (int i = 0; i < kRecipients; ++i) {
    recipients.push_back(
        {"<u" + std::to_string(i) + (i % 2 == 0 ? "@domain.co.uk>" : "@domain.com>")});
  }
  const Outcome outcome = message(client, recipients);
  EXPECT_EQ(outcome.reply, 'c');
  ASSERT_EQ(outcome.added.size(), kRecipients / 2U);
  ASSERT_EQ(outcome.deleted.size(), kRecipients / 2U);
  std::set<std::string> added;
  for (const auto& addition : outcome.added) {
    added.insert(addition.address);
  }
  EXPECT_EQ(added.size(), kRecipients / 2U);
  EXPECT_EQ(added.count("<u9998%domain.co.uk@remote1.bsmtp.invalid>"), 1U);
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}).added.size(), 1U) << "the next is as ever";
}

// Counts that performance rests on: no packet before the end, then no more than the changes.
TEST(MilterProtocol, AnswersOnlyAtTheEnd) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(client.rcpt({"<u" + std::to_string(i) + "@domain.co.uk>"}).is_ok());
  }
  ASSERT_TRUE(client.send('E', "").is_ok());
  std::string packets;
  do {
    auto packet = client.receive();
    ASSERT_TRUE(packet.is_ok()) << packet.status().to_string();
    packets.push_back(packet->command);
  } while (packets.back() != 'c');
  EXPECT_EQ(packets, std::string(20, '2') + std::string(20, '-') + "c");
}

TEST(MilterProtocol, OrdinaryMailIsUntouched) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  const Outcome outcome = message(client, {{"<bob@domain.com>"}, {"<x@example.net>"}});
  EXPECT_EQ(outcome.reply, 'c');
  EXPECT_EQ(outcome.order, "");
}

TEST(MilterProtocol, LocalSubmissionWithoutArguments) {
  const RunningMilter milter;
  auto client = milter.open();
  ASSERT_TRUE(client.is_ok() && client->negotiate().is_ok());
  ASSERT_EQ(client->connect("localhost", "127.0.0.1").value(), 'c');
  auto outcome = client->message({"alice@domain.com"}, {{"user@domain.co.uk"}});
  ASSERT_TRUE(outcome.is_ok());
  ASSERT_EQ(outcome->added.size(), 1U);
  EXPECT_EQ(outcome->added[0].address, "<user%domain.co.uk@remote1.bsmtp.invalid>");
  EXPECT_THAT(outcome->deleted, ElementsAre("user@domain.co.uk"));
}

TEST(MilterProtocol, ResubmissionListenerPasses) {
  const RunningMilter milter;
  auto client = milter.open();
  ASSERT_TRUE(client.is_ok() && client->negotiate().is_ok());
  client->set_macros('C', {{"{daemon_name}", "hub.domain.com"}, {"{daemon_port}", "10027"}});
  ASSERT_EQ(client->connect("localhost", "127.0.0.1").value(), 'c');
  EXPECT_EQ(message(*client, {{"<u@domain.co.uk>"}}).order, "");
}

TEST(MilterProtocol, NullSenderAndParcels) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}, "<>").added.size(), 1U);
  EXPECT_EQ(message(client, {{"<bsmtp@athena.domain.co.uk>"}}, "<>").order, "");
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}, "<bsmtp+1f@hub.domain.com>").order, "");
}

TEST(MilterProtocol, ManyMessagesAndAbortsOnOneConnection) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
    ASSERT_TRUE(client.rcpt({"<aborted@domain.co.uk>"}).is_ok());
    ASSERT_TRUE(client.abort().is_ok());
    const Outcome outcome = message(client, {{"<u@domain.co.uk>"}});
    ASSERT_EQ(outcome.added.size(), 1U);
    ASSERT_EQ(outcome.added[0].address, "<u%domain.co.uk@remote1.bsmtp.invalid>");
    ASSERT_THAT(outcome.deleted, ElementsAre("<u@domain.co.uk>"));
  }
  EXPECT_TRUE(client.quit().is_ok());
}

// libmilter passes over commands that no MTA sends there; nothing of them may stick.
TEST(MilterProtocol, CommandsOutOfOrderLeaveNoTrace) {
  const RunningMilter milter;
  MilterClient client = milter.client();
  ASSERT_TRUE(client.rcpt({"<stray@domain.co.uk>"}).is_ok());
  ASSERT_TRUE(client.abort().is_ok());
  const Outcome outcome = message(client, {{"<u@domain.co.uk>"}});
  ASSERT_EQ(outcome.added.size(), 1U);
  EXPECT_EQ(outcome.added[0].address, "<u%domain.co.uk@remote1.bsmtp.invalid>");
}

TEST(MilterProtocol, GarbageHarmsOnlyItsOwnConnection) {
  RunningMilter milter;
  const std::vector<std::string> garbage = {
      std::string(1, '\0'),
      "GET / HTTP/1.0\r\n\r\n",
      std::string(4096, '\xff'),
      std::string("\0\0\0\0O", 5),
      std::string("\0\0\0\1R", 5),
      std::string("\0\0\0\5Rabc", 8),                         // shorter than announced
      std::string("\0\0\0\5Rabcd", 9),                        // no NUL
      std::string("\0\0\0\2R\0", 6),                          // empty address
      std::string("\0\0\0\2M\0", 6),                          // before CONNECT
      std::string("\0\0\0\15O\0\0\0\1\0\0\0\0\0\0\0\0", 17),  // version 1
      std::string("\x7f\xff\xff\xffR", 5),
      std::string("\0\0\0\3DRx", 7),
      std::string("\0\0\0\4C\0"
                  "4\0",
                  8),
  };
  for (const std::string& octets : garbage) {
    for (const bool after_negotiation : {false, true}) {
      auto client = milter.open();
      ASSERT_TRUE(client.is_ok());
      if (after_negotiation) {
        ASSERT_TRUE(client->begin().is_ok());
      }
      static_cast<void>(client->send_raw(octets).is_ok());
    }
  }
  EXPECT_TRUE(milter.running());
  MilterClient client = milter.client();
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}).added.size(), 1U);
}

TEST(MilterProtocol, AClientThatEndsItsInputMidMessageIsLetGo) {
  RunningMilter milter;
  MilterClient other = milter.client();
  for (int step = 0; step < 4; ++step) {
    MilterClient client = milter.client();
    if (step > 0) {
      ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
    }
    if (step > 1) {
      ASSERT_TRUE(client.rcpt({"<u@domain.co.uk>"}).is_ok());
    }
    if (step > 2) {
      ASSERT_TRUE(client.send_raw(std::string("\0\0\0", 3)).is_ok());  // half a length
    }
    client.end_input();
    EXPECT_TRUE(client.closed()) << step;
  }
  EXPECT_TRUE(milter.running());
  EXPECT_EQ(message(other, {{"<u@domain.co.uk>"}}).added.size(), 1U);
}

TEST(MilterProtocol, ASlowClientIsServedAndHoldsNobodyUp) {
  const RunningMilter milter;
  auto stuck = milter.open();  // never says more than half a length
  ASSERT_TRUE(stuck.is_ok() && stuck->send_raw(std::string("\0\0", 2)).is_ok());
  MilterClient slow = milter.client();
  MilterClient other = milter.client();
  ASSERT_TRUE(slow.mail({"<a@domain.com>"}).is_ok() && slow.flush().is_ok());
  const std::string recipient("\0\0\0\x12R<u@domain.co.uk>\0", 22);
  for (const char octet : recipient) {
    ASSERT_TRUE(slow.send_raw(std::string(1, octet)).is_ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_EQ(message(other, {{"<b@domain.co.uk>"}}).added.size(), 1U);
  }
  const auto outcome = slow.end_of_message();
  ASSERT_TRUE(outcome.is_ok()) << outcome.status().to_string();
  ASSERT_EQ(outcome->added.size(), 1U);
  EXPECT_EQ(outcome->added[0].address, "<u%domain.co.uk@remote1.bsmtp.invalid>");
}

TEST(MilterProtocol, AddressesFromHellEndTheMessageInPeace) {
  RunningMilter milter;
  MilterClient client = milter.client();
  for (const std::string& address :
       {std::string("<>"), std::string(""), std::string("<@"), std::string("@:"),
        std::string("<@a:>"), std::string("<\"@domain.co.uk>"), std::string("<\\@domain.co.uk>"),
        std::string("<u@domain.co.uk"), std::string("<u@@domain.co.uk>"),
        std::string("<u@domain.co.uk..>"), std::string("<\r\n@domain.co.uk>"),
        "<" + std::string(60000, 'a') + "@domain.co.uk>", std::string("<\xff\xfe@domain.co.uk>"),
        "<" + std::string(30000, '@') + "domain.co.uk>", std::string("<u@[1.2.3.4]>")}) {
    const Outcome outcome = message(client, {{address}, {"<u@domain.co.uk>"}});
    EXPECT_EQ(outcome.reply, 'c');
    EXPECT_EQ(outcome.added.size(), 1U) << address.substr(0, 40);
  }
  EXPECT_TRUE(milter.running());
}

TEST(MilterProtocol, ServesAnInetSocket) {
  // Below the ports that the kernel gives to clients, different in parallel test runs.
  const int port = 20000 + getpid() % 20000;
  RunningMilter milter({"inet:" + std::to_string(port) + "@127.0.0.1", "", true});
  MilterClient client = milter.client();
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}).added.size(), 1U);
}

TEST(MilterStart, SocketHasTheConfiguredMode) {
  const RunningMilter milter({"", "milter-socket-mode = 0620\n", true});
  struct stat info {};
  ASSERT_EQ(stat(milter.socket_file().c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777U, 0620U);
}

TEST(MilterStart, ASecondInstanceLeavesTheFirstAlone) {
  RunningMilter milter;
  RunningMilter other({milter.socket(), "", false});
  EXPECT_FALSE(other.start());
  EXPECT_EQ(other.wait(), 1);
  EXPECT_THAT(other.log(), HasSubstr("another process listens there"));
  MilterClient client = milter.client();
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}).added.size(), 1U);
}

TEST(MilterStart, StaleSocketOfAKilledInstanceIsReplaced) {
  RunningMilter milter;
  milter.signal(SIGKILL);
  EXPECT_EQ(milter.wait(), -1000 - SIGKILL);
  ASSERT_TRUE(std::filesystem::exists(milter.socket_file()));
  std::filesystem::remove(milter.directory() / "log");
  ASSERT_TRUE(milter.start()) << milter.log();
  MilterClient client = milter.client();
  EXPECT_EQ(message(client, {{"<u@domain.co.uk>"}}).added.size(), 1U);
}

TEST(MilterStart, TroubleIsNamed) {
  struct Row {
    const char* name;
    const char* socket;
    const char* configuration;
    const char* rules;
    const char* expected;
  };
  const std::vector<Row> rows = {
      {"no directory", "unix:/nonexistent/dir/s", "", "", "/nonexistent/dir/s"},
      {"nonsense socket", "tape:/dev/st0", "", "", "tape:/dev/st0"},
      {"unknown key", "", "colour = red\n", "", "colour"},
      {"bad rule", "", "", "domain.co.uk $(x)@BSOUT-REMOTE1\n", "rewrite:1"},
      {"unknown tag", "", "", "domain.co.uk $U%$H@BSOUT-NOBODY\n", "BSOUT-NOBODY"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    RunningMilter milter({row.socket, row.configuration, false});
    if (*row.rules != '\0') {
      milter.write_rules(row.rules);
    }
    EXPECT_FALSE(milter.start());
    EXPECT_EQ(milter.wait(), 1);
    EXPECT_THAT(milter.log(), HasSubstr(row.expected));
    EXPECT_FALSE(std::filesystem::exists(milter.socket_file()));
  }
}

}  // namespace
}  // namespace bsmtp::test
