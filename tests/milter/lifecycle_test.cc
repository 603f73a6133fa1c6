// Reload and stop while mail is under way, and many connections at once. Built with
// ThreadSanitizer these are the tests that must come out without a report.
#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/milter/running_milter.h"

namespace bsmtp::test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kOtherRules = "example.org  $U%$H@BSOUT-REMOTE1\n";

// What a message to a recipient under both sets of rules came to: "1" the hub's, "2" the other's.
std::string which_rules(const Outcome& outcome) {
  std::string which;
  for (const RecipientAddition& addition : outcome.added) {
    which += addition.address.find("%domain.co.uk@") != std::string::npos ? "1" : "2";
  }
  return outcome.reply == 'c' ? which : "?";
}

const std::vector<std::vector<std::string>> kBoth = {{"<u@domain.co.uk>"}, {"<u@example.org>"}};

TEST(MilterLifecycle, TwoHundredConnectionsAtOnce) {
  RunningMilter milter;
  constexpr int kConnections = 200;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  std::atomic<int> begun = 0;
  for (int i = 0; i < kConnections; ++i) {
    threads.emplace_back([&milter, &right, &begun, i] {
      MilterClient client = milter.client();
      ++begun;
      // All are open before the first goes on.
      while (begun < kConnections) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      const std::string user = "u" + std::to_string(i);
      for (int n = 0; n < 5; ++n) {
        auto outcome = client.message({"<a@domain.com>"},
                                      {{"<" + user + "@domain.co.uk>"}, {"<bob@domain.com>"}});
        if (outcome.is_ok() && outcome->reply == 'c' && outcome->added.size() == 1 &&
            outcome->added[0].address == "<" + user + "%domain.co.uk@remote1.bsmtp.invalid>") {
          ++right;
        }
      }
      static_cast<void>(client.quit().is_ok());
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(right, kConnections * 5);
  milter.signal(SIGTERM);
  EXPECT_EQ(milter.wait(), 0) << milter.log();
}

TEST(MilterLifecycle, ReloadTakesNewRulesForNewMessages) {
  RunningMilter milter;
  MilterClient client = milter.client();
  ASSERT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "1");
  // A message that began before the reload ends by the rules it began with.
  ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
  ASSERT_TRUE(client.rcpt({"<u@domain.co.uk>"}).is_ok());
  ASSERT_TRUE(client.flush().is_ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  MilterClient other = milter.client();
  ASSERT_EQ(which_rules(*other.message({"<a@domain.com>"}, kBoth)), "1");
  milter.write_rules(kOtherRules);
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reloaded"));
  ASSERT_TRUE(client.rcpt({"<u@example.org>"}).is_ok());
  EXPECT_EQ(which_rules(*client.end_of_message()), "1");
  EXPECT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "2");
}

TEST(MilterLifecycle, BadRulesKeepTheOldOnes) {
  RunningMilter milter;
  MilterClient client = milter.client();
  milter.write_rules("domain.co.uk  $U%$H@BSOUT-REMOTE1\n! a comment\ndomain.co.uk  $(x)@y\n");
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reload-failed"));
  EXPECT_THAT(milter.log(), HasSubstr("rewrite:3"));
  EXPECT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "1");
  const std::size_t before = milter.log().size();
  std::filesystem::remove(milter.directory() / "rewrite");
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reload-failed", before));
  EXPECT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "1");
  milter.write_rules(kOtherRules);
  milter.signal(SIGHUP);
  ASSERT_TRUE(milter.logs("reloaded"));
  EXPECT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "2");
}

TEST(MilterLifecycle, ReloadUnderLoadLosesNothing) {
  RunningMilter milter;
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::atomic<int> messages = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        MilterClient client = milter.client();
        for (int n = 0; n < 20 && !stop; ++n) {
          const auto outcome = client.message({"<a@domain.com>"}, kBoth);
          const std::string which = outcome.is_ok() ? which_rules(*outcome) : "!";
          wrong += which == "1" || which == "2" ? 0 : 1;  // one set or the other, never a mix
          ++messages;
        }
      }
    });
  }
  // Far more often than any admin; also two at once, which must not reach libmilter.
  for (int i = 0; i < 150; ++i) {
    milter.write_rules(i % 3 == 0 ? kHubRules : i % 3 == 1 ? kOtherRules : "x $(bad)\n");
    milter.signal(SIGHUP);
    milter.signal(SIGHUP);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(messages, 100);
  EXPECT_TRUE(milter.running());
  EXPECT_THAT(milter.log(), HasSubstr("reloaded"));
  EXPECT_THAT(milter.log(), HasSubstr("reload-failed"));
}

TEST(MilterLifecycle, StopWithNothingUnderWayIsQuickAndLeavesNoSocket) {
  for (const int signal : {SIGTERM, SIGINT}) {
    RunningMilter milter;
    const MilterClient idle = milter.client();
    const auto begin = std::chrono::steady_clock::now();
    milter.signal(signal);
    EXPECT_EQ(milter.wait(), 0) << milter.log();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_FALSE(std::filesystem::exists(milter.socket_file()));
    EXPECT_THAT(milter.log(), HasSubstr("stopped"));
  }
}

TEST(MilterLifecycle, DaemonServesWhenTheCommandReturns) {
  RunningMilter milter({"", "", false});
  ASSERT_EQ(milter.start_daemon(), 0);
  ASSERT_TRUE(milter.running());
  {
    MilterClient client = milter.client();
    EXPECT_EQ(which_rules(*client.message({"<a@domain.com>"}, kBoth)), "1");
  }
  milter.signal(SIGTERM);
  milter.wait();
  EXPECT_FALSE(milter.running());
  EXPECT_FALSE(std::filesystem::exists(milter.socket_file()));
}

TEST(MilterLifecycle, StopLetsMessagesFinish) {
  RunningMilter milter;
  constexpr std::size_t kMessages = 20;
  std::vector<MilterClient> clients;
  for (std::size_t i = 0; i < kMessages; ++i) {
    clients.push_back(milter.client());
    ASSERT_EQ(which_rules(*clients.back().message({"<a@domain.com>"}, kBoth)), "1");
    ASSERT_TRUE(clients.back().mail({"<a@domain.com>"}).is_ok());
    ASSERT_TRUE(clients.back().rcpt({"<u@domain.co.uk>"}).is_ok());
    ASSERT_TRUE(clients.back().flush().is_ok());
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  milter.signal(SIGHUP);
  milter.signal(SIGTERM);
  for (int i = 0; i < 500 && std::filesystem::exists(milter.socket_file()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(std::filesystem::exists(milter.socket_file())) << "no new connection finds it";
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_TRUE(milter.running()) << milter.log();
  for (MilterClient& client : clients) {
    ASSERT_TRUE(client.rcpt({"<late@domain.co.uk>"}).is_ok());
    const auto outcome = client.end_of_message();
    ASSERT_TRUE(outcome.is_ok()) << outcome.status().to_string() << milter.log();
    EXPECT_EQ(outcome->reply, 'c');
    EXPECT_EQ(outcome->added.size(), 2U);
  }
  EXPECT_EQ(milter.wait(), 0) << milter.log();
  EXPECT_THAT(milter.log(), testing::Not(HasSubstr("cut off")));
}

TEST(MilterLifecycle, ASecondStopDoesNotWait) {
  RunningMilter milter;
  MilterClient client = milter.client();
  ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
  ASSERT_TRUE(client.flush().is_ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  milter.signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_TRUE(milter.running()) << milter.log();
  milter.signal(SIGTERM);
  EXPECT_EQ(milter.wait(10), 0) << milter.log();
  EXPECT_THAT(milter.log(), HasSubstr("cut off"));
}

TEST(MilterLifecycle, InetListenerRefusesNewConnectionsWhileItDrains) {
  const int port = 40000 + getpid() % 20000;
  RunningMilter milter({"inet:" + std::to_string(port) + "@127.0.0.1", "", true});
  MilterClient client = milter.client();
  ASSERT_TRUE(client.mail({"<a@domain.com>"}).is_ok());
  ASSERT_TRUE(client.flush().is_ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  milter.signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  auto late = milter.open();
  EXPECT_FALSE(late.is_ok() && late->negotiate().is_ok());
  ASSERT_TRUE(client.rcpt({"<u@domain.co.uk>"}).is_ok());
  EXPECT_EQ(which_rules(*client.end_of_message()), "1");
  EXPECT_EQ(milter.wait(), 0);
}

}  // namespace
}  // namespace bsmtp::test
