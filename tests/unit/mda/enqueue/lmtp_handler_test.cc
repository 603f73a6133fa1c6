#include "mda/enqueue/lmtp_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "common/spool/item.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kText = "Subject: x\r\n\r\nhello\r\n";

// A spool for two peers and one session's handler.
class LmtpHandler : public testing::Test {
 protected:
  void SetUp() override {
    config_.host = "hub.domain.com";
    config_.free_percent_enqueue = 0;
    config_.spool_directory = dir_ / "spool";
    config_.export_map = "/nonexistent/transport";
    for (const char* name : {"remote1", "remote2"}) {
      config::Peer peer;
      peer.name = name;
      config_.peers.push_back(peer);
    }
    ASSERT_TRUE(spool::Spool::create_layout(os::real_file_ops(), config_.spool_directory,
                                            {"remote1", "remote2"})
                    .is_ok());
  }

  static mail::Recipient to(const std::string& local, const std::string& peer) {
    mail::Recipient out;
    out.address = local + "%x.org@" + peer + ".bsmtp.invalid";
    return out;
  }

  // One message for two recipients of remote1 and one of remote2 between them.
  static std::vector<StatusClass> send(EnqueueHandler& handler) {
    mail::Envelope envelope;
    envelope.sender = "a@b.org";
    if (!handler.mail(envelope).is_ok()) return {};
    std::vector<StatusClass> out;
    for (const auto& recipient : {to("u", "remote1"), to("v", "remote2"), to("w", "remote1")}) {
      if (!handler.rcpt(recipient).is_ok()) return {};
    }
    StringSource text(kText);
    for (const auto& outcome : handler.deliver(text)) {
      out.push_back(outcome.status.status_class());
    }
    return out;
  }

  std::size_t items(const std::string& peer) const {
    const auto names =
        os::real_file_ops().list(spool::Paths(config_.spool_directory).incoming(peer));
    return names.is_ok() ? names->size() : 0;
  }

  test::TempDir dir_;
  config::Config config_;
};

TEST_F(LmtpHandler, KeepsTheParametersOfTheEnvelope) {
  EnqueueHandler handler(config_, "", EnqueueHooks());
  mail::Envelope envelope;
  envelope.envid = "Q+2B";
  envelope.ret = "FULL";
  envelope.body = "7BIT";
  envelope.size = 400;
  ASSERT_TRUE(handler.mail(envelope).is_ok());
  auto first = to("u", "remote1");
  first.notify = "SUCCESS";
  first.orcpt = "rfc822;orig@x.org";
  auto second = to("v", "never.remote1");
  second.notify = "DELAY";
  ASSERT_TRUE(handler.rcpt(first).is_ok());
  ASSERT_TRUE(handler.rcpt(second).is_ok());
  StringSource text(kText);
  const auto outcomes = handler.deliver(text);
  ASSERT_EQ(outcomes.size(), 2U);
  ASSERT_TRUE(outcomes[0].status.is_ok()) << outcomes[0].status.to_string();
  const spool::Paths paths(config_.spool_directory);
  const auto names = os::real_file_ops().list(paths.incoming("remote1"));
  ASSERT_TRUE(names.is_ok());
  ASSERT_EQ(names->size(), 1U);
  EXPECT_THAT(outcomes[0].note, HasSubstr(names->front()));
  const auto item =
      spool::ItemReader::open(os::real_file_ops(), paths.item("remote1", names->front()));
  ASSERT_TRUE(item.is_ok()) << item.status().to_string();
  const mail::Envelope& stored = item->envelope();
  EXPECT_EQ(stored.sender, "");
  EXPECT_EQ(stored.envid, "Q+2B");
  EXPECT_EQ(stored.ret, "FULL");
  EXPECT_EQ(stored.body, "7BIT");
  EXPECT_FALSE(stored.size.has_value());
  ASSERT_EQ(stored.recipients.size(), 2U);
  EXPECT_EQ(stored.recipients[0].address, "u@x.org");
  EXPECT_EQ(stored.recipients[0].notify, "SUCCESS");
  EXPECT_EQ(stored.recipients[0].orcpt, "rfc822;orig@x.org");
  EXPECT_EQ(stored.recipients[1].notify, "NEVER");
}

TEST_F(LmtpHandler, NamesInOrcptWhatTheSenderKnows) {
  struct Case {
    const char* name;
    const char* given;
    const char* kept;
  };
  const Case cases[] = {
      {"Postfix' own, of the diverted form", "rfc822;a+2Bb%x.org@remote1.bsmtp.invalid",
       "rfc822;a+2Bb@x.org"},
      {"with the label", "RFC822;u%x.org@never.remote1.bsmtp.invalid", "rfc822;u@x.org"},
      {"beyond ASCII", "rfc822;j+C3+B6rg%x.org@remote1.bsmtp.invalid", "utf-8;j\\x{F6}rg@x.org"},
      {"no UTF-8", "utf-8;j\xC3rg@x.org", ""},
      {"an alias", "rfc822;carol@domain.com", "rfc822;carol@domain.com"},
      {"kept octet by octet", "rfc822;O+2Bx+20y@x.org", "rfc822;O+2Bx+20y@x.org"},
      {"another type", "x400;c+3Dde", "x400;c+3Dde"},
      {"none", "", ""},
  };
  EnqueueHandler handler(config_, "", EnqueueHooks());
  ASSERT_TRUE(handler.mail({}).is_ok());
  for (const auto& c : cases) {
    auto recipient = to("u", "remote1");
    recipient.orcpt = c.given;
    ASSERT_TRUE(handler.rcpt(recipient).is_ok()) << c.name;
  }
  StringSource text(kText);
  ASSERT_TRUE(handler.deliver(text).front().status.is_ok());
  const spool::Paths paths(config_.spool_directory);
  const auto names = os::real_file_ops().list(paths.incoming("remote1"));
  ASSERT_TRUE(names.is_ok() && names->size() == 1);
  const auto item =
      spool::ItemReader::open(os::real_file_ops(), paths.item("remote1", names->front()));
  ASSERT_TRUE(item.is_ok()) << item.status().to_string();
  ASSERT_EQ(item->envelope().recipients.size(), std::size(cases));
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(item->envelope().recipients[i].orcpt, cases[i].kept) << cases[i].name;
  }
}

TEST_F(LmtpHandler, AnswersOkOnlyForWhatIsDurableWhateverFails) {
  using enum StatusClass;
  test::FaultyFileOps counted(dir_.path());
  EnqueueHooks hooks;
  hooks.ops = &counted;
  EnqueueHandler whole(config_, "", hooks);
  ASSERT_THAT(send(whole), ElementsAre(kOk, kOk, kOk));
  const std::uint64_t calls = counted.calls();
  ASSERT_GT(calls, 10U);
  bool one_of_two = false;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    const std::size_t had1 = items("remote1");
    const std::size_t had2 = items("remote2");
    test::FaultyFileOps ops(dir_.path());
    ops.fail_at(n, EIO);
    hooks.ops = &ops;
    EnqueueHandler handler(config_, "", hooks);
    const auto classes = send(handler);
    const bool ok1 = !classes.empty() && classes[0] == kOk;
    const bool ok2 = !classes.empty() && classes[1] == kOk;
    if (!classes.empty()) {
      EXPECT_EQ(classes[0], classes[2]) << n;
      EXPECT_NE(classes[0], kPermanent) << n;
      EXPECT_NE(classes[1], kPermanent) << n;
    }
    EXPECT_EQ(items("remote1") - had1, ok1 ? 1U : 0U) << n;
    EXPECT_EQ(items("remote2") - had2, ok2 ? 1U : 0U) << n;
    one_of_two = one_of_two || ok1 != ok2;
  }
  EXPECT_TRUE(one_of_two);
}

TEST_F(LmtpHandler, AFailedTextLeavesNothing) {
  class Broken final : public Source {
   public:
    Result<std::size_t> read(std::span<char> out) override {
      if (done_) return Status::permanent("5.6.1", "bare LF");
      done_ = true;
      std::copy(kText.begin(), kText.end(), out.begin());
      return kText.size();
    }

   private:
    bool done_ = false;
  };
  EnqueueHandler handler(config_, "remote1", EnqueueHooks());
  ASSERT_TRUE(handler.mail({}).is_ok());
  ASSERT_TRUE(handler.rcpt(to("u", "remote1")).is_ok());
  EXPECT_TRUE(handler.rcpt(to("u", "remote2")).is_temporary());
  Broken text;
  const auto outcomes = handler.deliver(text);
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].status.code(), "5.6.1");
  EXPECT_EQ(items("remote1"), 0U);
  const auto left = os::real_file_ops().list(spool::Paths(config_.spool_directory).tmp("remote1"));
  ASSERT_TRUE(left.is_ok());
  EXPECT_TRUE(left->empty());
}

TEST_F(LmtpHandler, RefusesAPeerThatIsOffForItsRecipientsOnly) {
  config_.peers[1].state = config::PeerState::kOff;
  EnqueueHandler handler(config_, "", EnqueueHooks());
  ASSERT_TRUE(handler.mail({}).is_ok());
  EXPECT_TRUE(handler.rcpt(to("u", "remote1")).is_ok());
  const Status off = handler.rcpt(to("u", "remote2"));
  EXPECT_TRUE(off.is_temporary());
  EXPECT_EQ(off.code(), "4.3.2");
  handler.reset();
  mail::Envelope huge;
  huge.size = UINT64_MAX;
  EXPECT_EQ(handler.mail(huge).code(), "4.3.1");
}

}  // namespace
}  // namespace bsmtp::mda
