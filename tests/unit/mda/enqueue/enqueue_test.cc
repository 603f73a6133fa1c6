#include "mda/enqueue/enqueue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "common/rewrite/export_map.h"
#include "common/spool/heartbeat.h"
#include "common/spool/item.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

config::Config two_peers() {
  config::Config config;
  config.host = "hub.domain.com";
  config.free_percent_enqueue = 0;
  config.export_map = "/nonexistent/transport";
  for (const char* name : {"remote1", "remote2"}) {
    config::Peer peer;
    peer.name = name;
    config.peers.push_back(peer);
  }
  return config;
}

EnqueueRequest request(std::vector<std::string> recipients, std::string peer = "remote1") {
  EnqueueRequest out;
  out.peer = std::move(peer);
  out.sender = "alice@domain.com";
  out.recipients = std::move(recipients);
  return out;
}

struct RecipientCase {
  const char* name;
  const char* argument;
  const char* address;
  const char* notify;
};

TEST(ResolveEnvelope, UndoesEveryRecipientForm) {
  const RecipientCase cases[] = {
      {"diverted", "user%domain.co.uk@remote1.bsmtp.invalid", "user@domain.co.uk", ""},
      {"NOTIFY=NEVER", "user%domain.co.uk@never.remote1.bsmtp.invalid", "user@domain.co.uk",
       "NEVER"},
      {"pseudo-domain in capitals", "user%domain.co.uk@REMOTE1.BSMTP.INVALID", "user@domain.co.uk",
       ""},
      {"case kept", "User%Domain.co.UK@remote1.bsmtp.invalid", "User@Domain.co.UK", ""},
      {"split at the last percent sign", "a%b%domain.co.uk@remote1.bsmtp.invalid",
       "a%b@domain.co.uk", ""},
      {"quoted (flags=q)", "\"a b%domain.co.uk\"@remote1.bsmtp.invalid", "\"a b\"@domain.co.uk",
       ""},
      {"what only the far MTA can judge", "x@bad!label.domain.co.uk", "x@bad!label.domain.co.uk",
       ""},
      {"dequoted", "a b%domain.co.uk@remote1.bsmtp.invalid", "\"a b\"@domain.co.uk", ""},
      {"tag and bang", "u+t!x%domain.co.uk@remote1.bsmtp.invalid", "u+t!x@domain.co.uk", ""},
      {"in brackets", "<user%domain.co.uk@remote1.bsmtp.invalid>", "user@domain.co.uk", ""},
      {"plain", "User+tag@domain.co.uk", "User+tag@domain.co.uk", ""},
      {"plain, dequoted", "a b@domain.co.uk", "\"a b\"@domain.co.uk", ""},
      {"plain with percent sign", "a%b@domain.co.uk", "a%b@domain.co.uk", ""},
      {"plain with leading dash", "-x@domain.co.uk", "-x@domain.co.uk", ""},
      {"plain UTF-8", "j\xC3\xB6rg@domain.co.uk", "j\xC3\xB6rg@domain.co.uk", ""},
  };
  for (const auto& c : cases) {
    const auto resolved = resolve_envelope(two_peers(), request({c.argument}));
    ASSERT_TRUE(resolved.is_ok()) << c.name << ": " << resolved.status().to_string();
    EXPECT_EQ(resolved->peer, "remote1") << c.name;
    ASSERT_EQ(resolved->envelope.recipients.size(), 1U) << c.name;
    EXPECT_EQ(resolved->envelope.recipients[0].address, c.address) << c.name;
    EXPECT_EQ(resolved->envelope.recipients[0].notify, c.notify) << c.name;
    EXPECT_EQ(resolved->envelope.smtputf8, std::string_view(c.name) == "plain UTF-8") << c.name;
  }
}

TEST(ResolveEnvelope, TakesThePeerFromEitherSide) {
  for (const char* argument :
       {"remote1", "REMOTE1", "remote1.bsmtp.invalid", "never.remote1.bsmtp.invalid"}) {
    const auto resolved = resolve_envelope(two_peers(), request({"u@x.org"}, argument));
    ASSERT_TRUE(resolved.is_ok()) << argument;
    EXPECT_EQ(resolved->peer, "remote1") << argument;
  }
  const auto resolved =
      resolve_envelope(two_peers(), request({"u%x.org@remote2.bsmtp.invalid"}, ""));
  ASSERT_TRUE(resolved.is_ok());
  EXPECT_EQ(resolved->peer, "remote2");
}

TEST(ResolveEnvelope, LooksAPlainRecipientUpInTheExportedMap) {
  const test::TempDir dir;
  test::spit(dir / "rules", "domain.co.uk $U%$H@BSOUT-REMOTE2\n");
  auto config = two_peers();
  config.export_map = dir / "map";
  rewrite::Options options;
  options.host = config.host;
  rewrite::PeerInfo peer;
  peer.name = "remote2";
  peer.tag = "BSOUT-REMOTE2";
  peer.channel = "bsout_remote2";
  peer.host = "athena.domain.co.uk";
  options.peers = {peer};
  const auto rules = rewrite::RuleSet::load(dir / "rules", options);
  ASSERT_TRUE(rules.is_ok()) << rules.status().to_string();
  ASSERT_TRUE(
      rewrite::write_map_file(config.export_map, rewrite::export_postfix(**rules).text).is_ok());
  const auto found = resolve_envelope(config, request({"u@DOMAIN.co.uk"}, ""));
  ASSERT_TRUE(found.is_ok()) << found.status().to_string();
  EXPECT_EQ(found->peer, "remote2");
  EXPECT_EQ(found->envelope.recipients[0].address, "u@DOMAIN.co.uk");
  EXPECT_TRUE(resolve_envelope(config, request({"u@other.org"}, "")).status().is_temporary());
  config.export_map = dir / "missing";
  EXPECT_TRUE(resolve_envelope(config, request({"u@domain.co.uk"}, "")).status().is_temporary());
}

struct RefusedCase {
  const char* name;
  std::vector<std::string> recipients;
  const char* peer;
  bool permanent;
};

TEST(ResolveEnvelope, RoutingMistakesAreTemporary) {
  const RefusedCase cases[] = {
      {"unknown peer", {"u@x.org"}, "remote3", false},
      {"other peer's pseudo-domain", {"u%x.org@remote2.bsmtp.invalid"}, "remote1", false},
      {"two peers in one call",
       {"u%x.org@remote1.bsmtp.invalid", "u%x.org@remote2.bsmtp.invalid"},
       "",
       false},
      {"unknown peer in the recipient", {"u%x.org@remote9.bsmtp.invalid"}, "", false},
      {"no domain", {"user"}, "remote1", false},
      {"no percent sign", {"user@remote1.bsmtp.invalid"}, "remote1", true},
      {"injected command", {"u@x.org>\r\nDATA"}, "remote1", true},
  };
  for (const auto& c : cases) {
    const auto resolved = resolve_envelope(two_peers(), request(c.recipients, c.peer));
    ASSERT_FALSE(resolved.is_ok()) << c.name;
    EXPECT_EQ(resolved.status().is_permanent(), c.permanent)
        << c.name << ": " << resolved.status().to_string();
  }
}

TEST(ResolveEnvelope, PeerStatesDecideWhetherMailIsTaken) {
  const std::pair<config::PeerState, bool> cases[] = {{config::PeerState::kOn, true},
                                                      {config::PeerState::kStopping, true},
                                                      {config::PeerState::kReceive, false},
                                                      {config::PeerState::kOff, false}};
  for (const auto& [state, taken] : cases) {
    auto config = two_peers();
    config.peers[0].state = state;
    const auto resolved = resolve_envelope(config, request({"u@x.org"}));
    EXPECT_EQ(resolved.is_ok(), taken);
    EXPECT_TRUE(taken || resolved.status().code() == "4.3.2");
  }
}

struct SenderCase {
  const char* name;
  const char* argument;
  const char* sender;
};

TEST(ResolveEnvelope, KeepsTheSender) {
  const SenderCase cases[] = {
      {"plain", "Alice+x@domain.com", "Alice+x@domain.com"},
      {"null", "", ""},
      {"null in brackets", "<>", ""},
      {"null as Postfix says it by default", "MAILER-DAEMON", ""},
      {"a real one of that name", "MAILER-DAEMON@domain.com", "MAILER-DAEMON@domain.com"},
      {"dequoted", "a b@domain.com", "\"a b\"@domain.com"},
      {"without domain", "root", "root@hub.domain.com"},
      {"looks like an option", "--peer=x@domain.com", "--peer=x@domain.com"},
  };
  for (const auto& c : cases) {
    auto r = request({"u@x.org"});
    r.sender = c.argument;
    const auto resolved = resolve_envelope(two_peers(), r);
    ASSERT_TRUE(resolved.is_ok()) << c.name << ": " << resolved.status().to_string();
    EXPECT_EQ(resolved->envelope.sender, c.sender) << c.name;
  }
}

TEST(ResolveEnvelope, CarriesDsnParameters) {
  auto r = request({"u@x.org"});
  r.ret = "hdrs";
  r.envid = "QQ314159+2Bx";
  auto resolved = resolve_envelope(two_peers(), r);
  ASSERT_TRUE(resolved.is_ok());
  EXPECT_EQ(resolved->envelope.ret, "HDRS");
  EXPECT_EQ(resolved->envelope.envid, "QQ314159+2Bx");
  EXPECT_EQ(resolved->envelope.body, "8BITMIME");
  r.envid = "with blank";
  resolved = resolve_envelope(two_peers(), r);
  EXPECT_EQ(resolved->envelope.envid, "with+20blank");
  r.envid = std::string(101, 'x');
  resolved = resolve_envelope(two_peers(), r);
  EXPECT_EQ(resolved->envelope.envid, "");
  r.ret = "sometimes";
  EXPECT_TRUE(resolve_envelope(two_peers(), r).status().is_temporary());
}

// --- enqueue -----------------------------------------------------------------------------------

struct Desk {
  Desk() : config(two_peers()) {
    config.spool_directory = dir / "spool";
    EXPECT_TRUE(
        spool::Spool::create_layout(os::real_file_ops(), config.spool_directory, {"remote1"})
            .is_ok());
  }
  Status run(std::string_view message, const EnqueueHooks& hooks = {}) {
    StringSource source(message);
    return enqueue(config, request({"u%x.org@remote1.bsmtp.invalid"}), source, hooks);
  }
  std::vector<std::string> incoming() const {
    return test::names_in(config.spool_directory + "/peers/remote1/incoming");
  }
  test::TempDir dir;
  config::Config config;
};

constexpr const char* kMessage = "Received: by x\nSubject: s\n\nbody\n";

TEST(Enqueue, StoresOneItem) {
  Desk desk;
  ASSERT_TRUE(desk.run(kMessage).is_ok());
  ASSERT_EQ(desk.incoming().size(), 1U);
  EXPECT_EQ(
      test::slurp(desk.config.spool_directory + "/peers/remote1/incoming/" + desk.incoming()[0]),
      "MAIL FROM:<alice@domain.com> BODY=8BITMIME\r\nRCPT TO:<u@x.org>\r\nDATA\r\n"
      "Received: by x\r\nSubject: s\r\n\r\nbody\r\n.\r\n");
}

TEST(Enqueue, NothingOnStandardInputIsNoMessage) {
  Desk desk;
  EXPECT_TRUE(desk.run("").is_temporary());
  EXPECT_THAT(desk.incoming(), IsEmpty());
}

TEST(Enqueue, ShedsWhenSpaceRunsOut) {
  Desk desk;
  desk.config.free_percent_enqueue = 101;
  const Status status = desk.run(kMessage);
  EXPECT_EQ(status.code(), "4.3.1");
  EXPECT_THAT(desk.incoming(), IsEmpty());
}

TEST(Enqueue, LeavesMailWithTheMtaWhenTheDispatcherIsDead) {
  Desk desk;
  const auto spool = spool::Spool::open(os::real_file_ops(), desk.config.spool_directory);
  spool::Heartbeat beat;
  beat.time = system_clock().now() - desk.config.accept_while_stalled - std::chrono::seconds(5);
  ASSERT_TRUE(spool::write_heartbeat(*spool, beat).is_ok());
  EXPECT_EQ(desk.run(kMessage).code(), "4.3.2");
  beat.time = system_clock().now();
  ASSERT_TRUE(spool::write_heartbeat(*spool, beat).is_ok());
  EXPECT_TRUE(desk.run(kMessage).is_ok());
}

TEST(Enqueue, LeavesMailWithTheMtaWhenItsPeerIsLate) {
  Desk desk;
  const auto spool = spool::Spool::open(os::real_file_ops(), desk.config.spool_directory);
  spool::Heartbeat beat;
  beat.time = system_clock().now();
  beat.late["remote1"] = beat.time - std::chrono::hours(3);
  beat.late["remote2"] = beat.time - std::chrono::hours(300);
  ASSERT_TRUE(spool::write_heartbeat(*spool, beat).is_ok());
  EXPECT_TRUE(desk.run(kMessage).is_ok());
  beat.late["remote1"] = beat.time - std::chrono::hours(5);
  ASSERT_TRUE(spool::write_heartbeat(*spool, beat).is_ok());
  EXPECT_EQ(desk.run(kMessage).code(), "4.3.2");
}

TEST(Enqueue, DropsWhatADeadMtaLeft) {
  Desk desk;
  EnqueueHooks hooks;
  hooks.before_rename = [] { return Status::temporary("4.3.0", "gone"); };
  EXPECT_TRUE(desk.run(kMessage, hooks).is_temporary());
  EXPECT_THAT(desk.incoming(), IsEmpty());
  EXPECT_THAT(test::names_in(desk.config.spool_directory + "/peers/remote1/tmp"), IsEmpty());
}

TEST(Enqueue, AMissingSpoolOrPeerDirectoryNamesTheThing) {
  Desk desk;
  desk.config.spool_directory = desk.dir / "elsewhere";
  Status status = desk.run(kMessage);
  EXPECT_TRUE(status.is_temporary());
  EXPECT_THAT(status.text(), HasSubstr(desk.dir / "elsewhere"));
}

}  // namespace
}  // namespace bsmtp::mda
