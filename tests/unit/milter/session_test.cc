// Every kind of envelope against the real rules of the hub: what is added, with which
// parameters, what is deleted, and what is left alone.
#include "milter/session.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "milter/policy.h"

namespace bsmtp::milter {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

config::Config hub() {
  config::Config config;
  config.host = "hub.domain.com";
  config.own_domains = {"domain.com", "hub.domain.com"};
  config::Peer remote1;
  remote1.name = "remote1";
  remote1.host = "athena.domain.co.uk";
  remote1.tag = "BSOUT-REMOTE1";
  remote1.channel = "bsout_remote1";
  remote1.recipient_domains = {"*"};
  config::Peer remote2 = remote1;
  remote2.name = "remote2";
  remote2.host = "gw.example.org";
  remote2.tag = "BSOUT-REMOTE2";
  remote2.channel = "bsout_remote2";
  config.peers = {remote1, remote2};
  return config;
}

constexpr std::string_view kRules =
    "domain.co.uk      $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
    ".domain.co.uk     $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n"
    "old.example       $U%domain.co.uk@BSOUT-REMOTE1\n"
    "auth.example      $U%auth.example@BSOUT-REMOTE2$Mtcp_auth\n"
    "local.example     $U%local.example@BSOUT-REMOTE2$Ml\n"
    "example.org       $U%example.org@BSOUT-REMOTE2\n";

std::shared_ptr<const Policy> policy(config::Config config = hub()) {
  auto result = Policy::parse(config, kRules);
  if (!result.is_ok()) {
    ADD_FAILURE() << result.status().to_string();
    std::abort();
  }
  return *result;
}

using Rcpt = std::vector<std::string_view>;

Edits run(Session& session, const std::vector<Rcpt>& recipients,
          std::string sender = "<alice@domain.com>", std::string login = "") {
  session.mail(policy(), {std::move(sender), std::move(login)});
  for (const Rcpt& recipient : recipients) {
    session.rcpt(recipient);
  }
  auto edits = session.end_of_message();
  if (!edits.is_ok()) {
    ADD_FAILURE() << edits.status().to_string();
    return {};
  }
  return std::move(edits).value();
}

Edits run(const std::vector<Rcpt>& recipients) {
  Session session;
  session.connect({"192.0.2.1", "hub.domain.com", "25"});
  return run(session, recipients);
}

struct Case {
  const char* name;
  const char* recipient;
  const char* added;  // "" = left alone
  const char* params;
  std::vector<std::string> deleted;
};

TEST(SessionTest, OneRecipient) {
  const std::vector<Case> cases = {
      {"plain",
       "<user@domain.co.uk>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"<user@domain.co.uk>"}},
      {"below the domain",
       "<user@a.b.domain.co.uk>",
       "user%a.b.domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@a.b.domain.co.uk",
       {"<user@a.b.domain.co.uk>"}},
      {"not tunneled", "<bob@example.net>", "", "", {}},
      {"suffix without dot", "<bob@notdomain.co.uk>", "", "", {}},
      {"local user", "<bob@domain.com>", "", "", {}},
      {"no domain", "<postmaster>", "", "", {}},
      {"empty", "<>", "", "", {}},
      {"trailing dot",
       "<user@domain.co.uk.>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"<user@domain.co.uk.>", "<user@domain.co.uk>"}},
      {"source route",
       "<@relay.x:user@domain.co.uk>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"<@relay.x:user@domain.co.uk>", "<user@domain.co.uk>"}},
      {"two hops and a trailing dot",
       "<@a.x,@b.x:user@domain.co.uk.>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"<@a.x,@b.x:user@domain.co.uk.>", "<user@domain.co.uk.>", "<user@domain.co.uk>"}},
      {"route by IPv6 literal",
       "<@[IPv6:2001:db8::1]:user@domain.co.uk>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"<@[IPv6:2001:db8::1]:user@domain.co.uk>", "<user@domain.co.uk>"}},
      {"upper case is kept in the local part",
       "<User.Name@domain.co.uk>",
       "User.Name%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;User.Name@domain.co.uk",
       {"<User.Name@domain.co.uk>"}},
      {"quoted local part",
       "<\"a b\"@domain.co.uk>",
       "\"a b%domain.co.uk\"@remote1.bsmtp.invalid",
       "ORCPT=rfc822;\"a+20b\"@domain.co.uk",
       {"<\"a b\"@domain.co.uk>"}},
      {"plus tag",
       "<user+tag@domain.co.uk>",
       "user+tag%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user+2Btag@domain.co.uk",
       {"<user+tag@domain.co.uk>"}},
      {"percent",
       "<a%b@domain.co.uk>",
       "a%b%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;a%b@domain.co.uk",
       {"<a%b@domain.co.uk>"}},
      {"bang",
       "<host!user@domain.co.uk>",
       "host!user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;host!user@domain.co.uk",
       {"<host!user@domain.co.uk>"}},
      {"UTF-8",
       "<j\xC3\xB6rg@domain.co.uk>",
       "j\xC3\xB6rg%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=utf-8;j\\x{F6}rg@domain.co.uk",
       {"<j\xC3\xB6rg@domain.co.uk>"}},
      {"no brackets",
       "user@domain.co.uk",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@domain.co.uk",
       {"user@domain.co.uk"}},
      {"rewritten to another domain",
       "<user@old.example>",
       "user%domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;user@old.example",
       {"<user@old.example>"}},
      {"parcel address of the peer", "<bsmtp@athena.domain.co.uk>", "", "", {}},
      {"parcel address with token", "<bsmtp+0123@athena.domain.co.uk>", "", "", {}},
      {"postmaster of the peer's gateway", "<postmaster@athena.domain.co.uk>", "", "", {}},
      {"abuse of the peer's gateway", "<Abuse@ATHENA.domain.co.uk>", "", "", {}},
      {"other user at the peer's gateway",
       "<bob@athena.domain.co.uk>",
       "bob%athena.domain.co.uk@remote1.bsmtp.invalid",
       "ORCPT=rfc822;bob@athena.domain.co.uk",
       {"<bob@athena.domain.co.uk>"}},
      {"already diverted", "<user%domain.co.uk@remote1.bsmtp.invalid>", "", "", {}},
      {"percent hack at a local host", "<user%domain.co.uk@hub.domain.com>", "", "", {}},
      {"rule for authenticated mail only", "<u@auth.example>", "", "", {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Edits edits = run({{c.recipient}});
    if (*c.added == '\0') {
      EXPECT_THAT(edits.additions, IsEmpty());
    } else {
      ASSERT_EQ(edits.additions.size(), 1U);
      EXPECT_EQ(edits.additions[0].address, c.added);
      EXPECT_EQ(edits.additions[0].params, c.params);
    }
    EXPECT_THAT(edits.deletions, testing::UnorderedElementsAreArray(c.deleted));
  }
}

TEST(SessionTest, DomainMatchesInAnyCase) {
  const Edits edits = run({{"<User@DOMAIN.Co.Uk>"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_THAT(edits.additions[0].address,
              testing::StrCaseEq("User%domain.co.uk@remote1.bsmtp.invalid"));
  EXPECT_THAT(edits.additions[0].address, testing::StartsWith("User%"));
  EXPECT_THAT(edits.deletions, ElementsAre("<User@DOMAIN.Co.Uk>"));
}

TEST(SessionTest, OnlyTunneledRecipientsOfAMixAreTouched) {
  const Edits edits = run({{"<bob@domain.com>"},
                           {"<u1@domain.co.uk>"},
                           {"<x@example.net>"},
                           {"<u2@example.org>"},
                           {"<bsmtp@athena.domain.co.uk>"}});
  ASSERT_EQ(edits.additions.size(), 2U);
  EXPECT_EQ(edits.additions[0].address, "u1%domain.co.uk@remote1.bsmtp.invalid");
  EXPECT_EQ(edits.additions[1].address, "u2%example.org@remote2.bsmtp.invalid");
  EXPECT_THAT(edits.deletions, ElementsAre("<u1@domain.co.uk>", "<u2@example.org>"));
  EXPECT_THAT(edits.left, IsEmpty());
}

TEST(SessionTest, WhatCannotBeDivertedIsLeftWithAReason) {
  const std::string longest(200, 'a');
  const std::string tooLong = "<" + std::string(230, 'b') + "@domain.co.uk>";
  const std::string fits = "<" + longest + "@domain.co.uk>";
  const Edits edits = run({{tooLong}, {fits}, {"<-user@domain.co.uk>"}, {"<u@domain.co.uk>"}});
  ASSERT_EQ(edits.additions.size(), 2U);
  EXPECT_EQ(edits.additions[0].address, longest + "%domain.co.uk@remote1.bsmtp.invalid");
  EXPECT_EQ(edits.additions[1].address, "u%domain.co.uk@remote1.bsmtp.invalid");
  ASSERT_EQ(edits.left.size(), 2U);
  for (const Left& left : edits.left) {
    EXPECT_NE(left.why, "");
  }
  EXPECT_THAT(edits.deletions, ElementsAre(fits, "<u@domain.co.uk>"));
}

// At exactly 250 octets the plain form still fits but its "never." form does not.
TEST(SessionTest, LengthIsMeasuredWithTheLongestLabel) {
  const std::string tail = "%domain.co.uk@remote1.bsmtp.invalid";
  const std::string plain(250 - tail.size(), 'a');
  const std::string never(250 - tail.size() - std::string("never.").size(), 'a');
  EXPECT_THAT(run({{"<" + plain + "@domain.co.uk>"}}).additions, IsEmpty());
  EXPECT_EQ(run({{"<" + never + "@domain.co.uk>"}}).additions.size(), 1U);
}

TEST(SessionTest, NotifyAndOrcptAreKept) {
  const Edits edits = run(
      {{"<u@domain.co.uk>", "NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Orig+2Buser@domain.co.uk"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].params,
            "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Orig+2Buser@domain.co.uk");
}

TEST(SessionTest, OnlyNotifyAndOrcptArePassedOn) {
  const Edits edits =
      run({{"<u@domain.co.uk>", "RRVS=2014-04-03T23:01:00Z", "notify=delay", "X-FOO", "ORCPT="}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].params, "NOTIFY=DELAY ORCPT=rfc822;u@domain.co.uk");
}

TEST(SessionTest, NeverGoesToTheNeverLabel) {
  const Edits edits = run({{"<u@domain.co.uk>", "NOTIFY=NEVER"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].address, "u%domain.co.uk@never.remote1.bsmtp.invalid");
  EXPECT_EQ(edits.additions[0].params, "NOTIFY=NEVER ORCPT=rfc822;u@domain.co.uk");
}

TEST(SessionTest, OrcptThatWouldBreakTheParameterListIsReplaced) {
  const Edits edits = run({{"<u@domain.co.uk>", "ORCPT=rfc822;a b NOTIFY=NEVER"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].params, "ORCPT=rfc822;u@domain.co.uk");
}

TEST(SessionTest, RecipientsThatLeadToOneAddressAreAddedOnce) {
  struct Pair {
    const char* name;
    Rcpt first;
    Rcpt second;
    const char* params;
  };
  const std::vector<Pair> cases = {
      {"the same twice", {"<u@domain.co.uk>"}, {"<u@domain.co.uk>"}, "ORCPT=rfc822;u@domain.co.uk"},
      {"domain in other case",
       {"<u@domain.co.uk>"},
       {"<u@DOMAIN.co.uk>"},
       "ORCPT=rfc822;u@domain.co.uk"},
      {"two addresses, one mailbox",
       {"<u@old.example>"},
       {"<u@domain.co.uk>"},
       "ORCPT=rfc822;u@old.example"},
      {"given ORCPT beats a made one",
       {"<u@domain.co.uk>"},
       {"<u@domain.co.uk>", "ORCPT=rfc822;first@x"},
       "ORCPT=rfc822;first@x"},
      {"union of NOTIFY",
       {"<u@domain.co.uk>", "NOTIFY=DELAY"},
       {"<u@domain.co.uk>", "NOTIFY=SUCCESS"},
       "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;u@domain.co.uk"},
      {"no NOTIFY means failure and delay",
       {"<u@domain.co.uk>"},
       {"<u@domain.co.uk>", "NOTIFY=SUCCESS"},
       "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;u@domain.co.uk"},
      {"NEVER yields to another wish",
       {"<u@domain.co.uk>", "NOTIFY=NEVER"},
       {"<u@domain.co.uk>", "NOTIFY=FAILURE"},
       "NOTIFY=FAILURE ORCPT=rfc822;u@domain.co.uk"},
      {"NEVER yields to the default",
       {"<u@domain.co.uk>", "NOTIFY=NEVER"},
       {"<u@domain.co.uk>"},
       "ORCPT=rfc822;u@domain.co.uk"},
  };
  for (const Pair& c : cases) {
    SCOPED_TRACE(c.name);
    const Edits edits = run({c.first, c.second});
    ASSERT_EQ(edits.additions.size(), 1U);
    EXPECT_EQ(edits.additions[0].address, "u%domain.co.uk@remote1.bsmtp.invalid");
    EXPECT_EQ(edits.additions[0].params, c.params);
    EXPECT_THAT(edits.deletions, testing::Contains(std::string(c.first[0])));
    EXPECT_THAT(edits.deletions, testing::Contains(std::string(c.second[0])));
  }
}

TEST(SessionTest, LocalPartsThatDifferInCaseAreTwoMailboxes) {
  EXPECT_EQ(run({{"<u@domain.co.uk>"}, {"<U@domain.co.uk>"}}).additions.size(), 2U);
}

TEST(SessionTest, NullSenderIsDivertedToo) {
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  EXPECT_EQ(run(session, {{"<u@domain.co.uk>"}}, "<>").additions.size(), 1U);
}

TEST(SessionTest, ParcelsAreNeverDiverted) {
  for (const char* sender : {"<bsmtp@hub.domain.com>", "<bsmtp+6f6f@hub.domain.com>",
                             "<BSMTP+6F6F@HUB.domain.com>", "bsmtp@hub.domain.com"}) {
    SCOPED_TRACE(sender);
    Session session;
    session.connect({"127.0.0.1", "hub.domain.com", "25"});
    const Edits edits =
        run(session, {{"<u@domain.co.uk>"}, {"<bsmtp@athena.domain.co.uk>"}}, sender);
    EXPECT_THAT(edits.additions, IsEmpty());
    EXPECT_THAT(edits.deletions, IsEmpty());
  }
}

TEST(SessionTest, SendersThatOnlyLookLikeTheParcelAddressAreOrdinary) {
  for (const char* sender : {"<bsmtpx@hub.domain.com>", "<bsmtp@domain.com>",
                             "<bsmtp@hub.domain.com.example>", "<x+bsmtp@hub.domain.com>"}) {
    SCOPED_TRACE(sender);
    Session session;
    session.connect({"192.0.2.1", "hub.domain.com", "25"});
    EXPECT_EQ(run(session, {{"<u@domain.co.uk>"}}, sender).additions.size(), 1U);
  }
}

TEST(SessionTest, SourceChannels) {
  struct Row {
    const char* name;
    Connection connection;
    const char* sender;
    const char* login;
    const char* channel;
    std::size_t diverted;  // of u@auth.example, u@local.example, u@domain.co.uk
  };
  const std::vector<Row> rows = {
      {"SMTP", {"192.0.2.1", "hub", "25"}, "<a@b.example>", "", "tcp_local", 1},
      {"SMTP from this host", {"127.0.0.1", "hub", "25"}, "<a@b.example>", "", "tcp_local", 1},
      {"authenticated", {"192.0.2.1", "hub", "587"}, "<a@b.example>", "joe", "tcp_auth", 2},
      {"local submission", {"127.0.0.1", "", ""}, "alice@domain.com", "", "l", 2},
      {"local submission, null sender", {"127.0.0.1", "", ""}, "", "", "l", 2},
      {"no brackets from elsewhere", {"192.0.2.1", "hub", "25"}, "a@b.example", "", "tcp_local", 1},
      {"Postfix listener by port",
       {"127.0.0.1", "hub.domain.com", "10027"},
       "<a@b.example>",
       "",
       "bsin_gateway",
       0},
      {"listener by name",
       {"127.0.0.1", "bsmtpin", "2525"},
       "<a@b.example>",
       "",
       "bsin_gateway",
       0},
  };
  config::Config config = hub();
  config.gateway_daemons = {"BSMTPIN"};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Session session;
    session.connect(row.connection);
    session.mail(policy(config), {row.sender, row.login});
    EXPECT_EQ(session.channel(), row.channel);
    for (const char* recipient : {"<u@auth.example>", "<u@local.example>", "<u@domain.co.uk>"}) {
      session.rcpt({recipient});
    }
    auto edits = session.end_of_message();
    ASSERT_TRUE(edits.is_ok());
    EXPECT_EQ(edits->additions.size(), row.diverted);
  }
}

TEST(SessionTest, PublicPortAsResubmissionUrlMarksNobody) {
  config::Config config = hub();
  config.resubmit = "smtp://127.0.0.1:25";
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  session.mail(policy(config), {"<a@b.example>", ""});
  EXPECT_EQ(session.channel(), "tcp_local");
}

TEST(SessionTest, OnlyPeersThatAreOnTakeMail) {
  for (const auto state :
       {config::PeerState::kOff, config::PeerState::kReceive, config::PeerState::kStopping}) {
    config::Config config = hub();
    config.peers[0].state = state;
    Session session;
    session.connect({"192.0.2.1", "hub", "25"});
    session.mail(policy(config), {"<a@domain.com>", ""});
    session.rcpt({"<u@domain.co.uk>"});
    session.rcpt({"<u@example.org>"});
    auto edits = session.end_of_message();
    ASSERT_TRUE(edits.is_ok());
    ASSERT_EQ(edits->additions.size(), 1U);
    EXPECT_EQ(edits->additions[0].address, "u%example.org@remote2.bsmtp.invalid");
    EXPECT_THAT(edits->left, IsEmpty());
  }
}

TEST(SessionTest, StateEndsWithTheTransaction) {
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  session.mail(policy(), {"<a@domain.com>", ""});
  session.rcpt({"<u1@domain.co.uk>"});
  session.abort();
  EXPECT_FALSE(session.in_transaction());
  Edits edits = run(session, {{"<u2@domain.co.uk>"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].original, "u2@domain.co.uk");
  edits = run(session, {{"<bob@domain.com>"}});
  EXPECT_THAT(edits.additions, IsEmpty());
  EXPECT_THAT(edits.deletions, IsEmpty());
  // MAIL again without RSET, as after a refused first MAIL
  session.mail(policy(), {"<a@domain.com>", ""});
  session.rcpt({"<u3@domain.co.uk>"});
  edits = run(session, {{"<u4@domain.co.uk>"}});
  ASSERT_EQ(edits.additions.size(), 1U);
  EXPECT_EQ(edits.additions[0].original, "u4@domain.co.uk");
}

TEST(SessionTest, BrokenCallbacksFailTheMessageAndOnlyIt) {
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  session.mail(policy(), {"<a@domain.com>", ""});
  session.rcpt({"<u@domain.co.uk>"});
  session.fail();
  EXPECT_TRUE(session.end_of_message().status().is_temporary());
  EXPECT_EQ(run(session, {{"<u@domain.co.uk>"}}).additions.size(), 1U);
}

TEST(SessionTest, OutOfOrderCallsFailTemporarily) {
  Session session;
  EXPECT_TRUE(session.end_of_message().status().is_temporary());
  session.rcpt({"<u@domain.co.uk>"});
  EXPECT_TRUE(session.end_of_message().status().is_temporary());
  session.mail(policy(), {"<a@domain.com>", ""});
  session.rcpt({});
  EXPECT_TRUE(session.end_of_message().status().is_temporary());
}

TEST(SessionTest, TooManyRecipientsFailTemporarily) {
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  session.mail(policy(), {"<a@domain.com>", ""});
  for (std::size_t i = 0; i < kMaxRecipients; ++i) {
    session.rcpt({"<bob>"});
  }
  session.rcpt({"<u@domain.co.uk>"});
  EXPECT_TRUE(session.end_of_message().status().is_temporary());
}

TEST(SessionTest, ATransactionKeepsTheRulesItBeganWith) {
  Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  auto rules = policy();
  const std::weak_ptr<const Policy> watch = rules;
  session.mail(std::move(rules), {"<a@domain.com>", ""});
  EXPECT_FALSE(watch.expired());
  session.rcpt({"<u@domain.co.uk>"});
  EXPECT_TRUE(session.end_of_message().is_ok());
  EXPECT_TRUE(watch.expired());
}

TEST(OriginalRecipientTest, Encodings) {
  EXPECT_EQ(original_recipient("a=b+c@x"), "rfc822;a+3Db+2Bc@x");
  EXPECT_EQ(original_recipient("\xE2\x82\xAC\\+@x"), "utf-8;\\x{20AC}\\x{5C}\\x{2B}@x");
  EXPECT_EQ(original_recipient("\xF0\x9F\x98\x80@x"), "utf-8;\\x{1F600}@x");
  EXPECT_EQ(original_recipient("\xC3@x"), "") << "malformed UTF-8";
  EXPECT_EQ(original_recipient(std::string(500, 'a')), "") << "over 500 octets";
  EXPECT_EQ(original_recipient(""), "");
}

}  // namespace
}  // namespace bsmtp::milter
