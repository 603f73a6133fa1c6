// The loader: what is accepted, what every refusal says, and that describe/show agree with it.
#include "common/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/config/schema.h"

namespace bsmtp::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kMinimal =
    "host = hub.domain.com\n"
    "[peer.remote1]\n"
    "host = athena.domain.co.uk\n"
    "recipient-domains = domain.com .domain.com\n";

Config must_parse(const std::string& text) {
  auto r = parse(text, "bsmtp.conf");
  EXPECT_TRUE(r.is_ok()) << r.status().to_string();
  return r.is_ok() ? std::move(r).value() : Config();
}

TEST(Config, MinimalFileGetsTheDocumentedDefaults) {
  const Config c = must_parse(kMinimal);
  EXPECT_EQ(c.parcel_address(), "bsmtp@hub.domain.com");
  EXPECT_EQ(c.own_domains, std::vector<std::string>{"hub.domain.com"});
  ASSERT_EQ(c.peers.size(), 1U);
  const Peer& p = c.peers[0];
  EXPECT_EQ(p.tag, "BSOUT-REMOTE1");
  EXPECT_EQ(p.channel, "bsout_remote1");
  EXPECT_EQ(p.parcel_address(), "bsmtp@athena.domain.co.uk");
  EXPECT_EQ(p.pseudo_domain(), "remote1.bsmtp.invalid");
  EXPECT_EQ(p.max_messages, 100U);
  EXPECT_EQ(p.max_bytes, 7U << 20U);
  EXPECT_EQ(p.max_age, seconds(60));
  EXPECT_EQ(p.recipient_domains, (std::vector<std::string>{"domain.com", ".domain.com"}));
}

TEST(Config, TheDesignsExampleLoadsWithItsComments) {
  const Config c = must_parse(
      "host = hub.domain.com                      # this gateway\n"
      "postmaster = postmaster\n"
      "milter-socket = unix:/run/bsmtp/milter.sock    # Postfix: below its queue directory\n"
      "[peer.remote1]\n"
      "host = athena.domain.co.uk                 # PMDF: master user bsmtp daemon host\n"
      "state = stopping\n"
      "profile = pmdf-gzip\n"
      "require = transport\n"
      "annotate = yes\n"
      "openpgp-key = 0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567\n"
      "openpgp-key = AAAA456789ABCDEF0123456789ABCDEF01234567\n"
      "max-bytes = 1M\n"
      "max-age = 7d\n"
      "sender-domains = *\n"
      "recipient-domains = *\n");
  const Peer& p = c.peers.at(0);
  EXPECT_EQ(p.state, PeerState::kStopping);
  EXPECT_EQ(p.profile, Profile::kPmdfGzip);
  EXPECT_EQ(p.require, Require::kTransport);
  EXPECT_TRUE(p.annotate);
  EXPECT_EQ(p.max_age, seconds(7 * 86400));
  EXPECT_EQ(p.openpgp_keys, (std::vector<std::string>{"0123456789ABCDEF0123456789ABCDEF01234567",
                                                      "AAAA456789ABCDEF0123456789ABCDEF01234567"}));
}

struct Refusal {
  const char* name;
  std::string text;
  std::vector<std::string> says;
};

class ConfigRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(ConfigRefusal, NamesFileLineAndRemedy) {
  const auto r = parse(GetParam().text, "bsmtp.conf");
  ASSERT_FALSE(r.is_ok());
  EXPECT_TRUE(r.status().is_temporary()) << "a typo must never bounce mail";
  for (const auto& part : GetParam().says) {
    EXPECT_THAT(r.status().text(), HasSubstr(part));
  }
}

const std::string kBase = kMinimal;
TEST(Config, ReceiptsFollowTheProfileUnlessTheyAreSet) {
  const struct {
    const char* lines;
    bool wanted;
  } rows[] = {{"", true},
              {"profile = native\nreceipts = no\n", false},
              {"receipts = TRUE\n", true},
              {"profile = rfc2442\n", false},
              {"profile = pmdf-gzip\nreceipts = off\n", false},
              {"profile = pmdf-signed\n", false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.lines);
    const auto config = parse(kBase + row.lines, "bsmtp.conf");
    ASSERT_TRUE(config.is_ok()) << config.status().to_string();
    EXPECT_EQ(config->peers.front().wants_receipts(), row.wanted);
    const auto again = parse(show(*config), "shown");
    ASSERT_TRUE(again.is_ok()) << again.status().to_string();
    EXPECT_EQ(again->peers.front().receipts, config->peers.front().receipts);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigRefusal,
    ::testing::Values(
        Refusal{"no_host", "user = bsmtp\n", {"no host", "bsmtp.conf"}},
        Refusal{"unknown_key",
                "host = hub.domain.com\n\npost-master = x\n",
                {"bsmtp.conf:3", "post-master", "did you mean 'postmaster'"}},
        Refusal{"unknown_peer_key",
                kBase + "max-mesages = 3\n",
                {"bsmtp.conf:5", "remote1", "did you mean 'max-messages'"}},
        Refusal{"far_from_any_key", kBase + "zzzzzzzz = 3\n", {"bsmtp.conf:5", "describe"}},
        Refusal{"bad_duration", kBase + "max-age = soon\n", {"bsmtp.conf:5", "max-age", "soon"}},
        Refusal{"age_over_a_week", kBase + "max-age = 8d\n", {"max-age", "at most 7d"}},
        Refusal{"bad_size", kBase + "max-bytes = 7MB\n", {"max-bytes", "suffix K, M or G"}},
        Refusal{"bad_choice", kBase + "state = maybe\n", {"off, receive, on, stopping"}},
        Refusal{"short_fingerprint", kBase + "openpgp-key = ABCD\n", {"40 hexadecimal"}},
        Refusal{"set_twice", kBase + "user = a\nuser = b\n", {"bsmtp.conf:6", "set before"}},
        Refusal{"no_recipient_domains",
                "host = hub.domain.com\n[peer.a]\nhost = b.c\n",
                {"peer a", "recipient-domains"}},
        Refusal{"peer_without_host",
                "host = hub.domain.com\n[peer.a]\nrecipient-domains = *\n",
                {"peer a", "no host"}},
        Refusal{"never_is_reserved",
                "host = hub.domain.com\n[peer.never]\nhost = b.c\nrecipient-domains = *\n",
                {"bsmtp.conf:3", "never"}},
        Refusal{"same_key_twice",
                "host = hub.domain.com\n"
                "[peer.a]\nhost = a.b\nrecipient-domains = *\n"
                "openpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n"
                "[peer.b]\nhost = b.b\nrecipient-domains = *\n"
                "openpgp-key = 0123456789abcdef0123456789abcdef01234567\n",
                {"peer b", "one peer"}},
        Refusal{"same_host_twice",
                "host = hub.domain.com\n"
                "[peer.a]\nhost = a.b\nrecipient-domains = *\n"
                "[peer.b]\nhost = A.B\nrecipient-domains = *\n",
                {"peer b", "parcel address"}},
        Refusal{"peer_is_myself",
                "host = hub.domain.com\n[peer.a]\nhost = HUB.domain.com\nrecipient-domains = *\n",
                {"peer a", "this gateway's own"}},
        Refusal{"annotate_needs_transport", kBase + "annotate = yes\n", {"require = transport"}},
        Refusal{"receipts_need_native",
                kBase + "profile = pmdf-signed\nreceipts = yes\n",
                {"peer remote1", "receipts", "native"}},
        Refusal{"receipts_maybe", kBase + "receipts = maybe\n", {"bsmtp.conf:5", "yes or no"}},
        Refusal{"home_path_too_long",
                "openpgp-directory = /" + std::string(70, 'x') + "\n" + kBase,
                {"openpgp-directory", "shorter"}},
        Refusal{"relative_path", "spool-directory = spool\n" + kBase, {"absolute path"}},
        Refusal{"not_a_line", "host = hub.domain.com\nhello world\n", {"bsmtp.conf:2", "neither"}},
        Refusal{"sandbox", "sandbox = yes\n" + kBase, {"sandbox", "auto"}},
        Refusal{"log_level", "log-level = loud\n" + kBase, {"log-level", "debug"}},
        Refusal{"nul", std::string("host = a.b\n\0", 12), {"NUL"}}),
    [](const auto& row) { return row.param.name; });

TEST(Config, ShowIsAFileThatLoadsToTheSameValues) {
  const Config c = must_parse(std::string(kMinimal) +
                              "openpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n");
  const std::string text = show(c);
  const Config again = must_parse(text);
  EXPECT_EQ(show(again), text);
  EXPECT_THAT(show_json(c), HasSubstr("\"host\": \"hub.domain.com\""));
}

TEST(Config, DescribeNamesEveryKeyAndTheInstalledSampleIsThatText) {
  const std::string text = describe();
  for (const auto& k : global_keys()) {
    EXPECT_THAT(text, HasSubstr(std::string(k.name) + " = ")) << k.name;
    EXPECT_FALSE(k.help.empty()) << k.name;
  }
  for (const auto& k : peer_keys()) {
    EXPECT_THAT(text, HasSubstr(std::string(k.name) + " = ")) << k.name;
  }
  std::ifstream in(std::string(BSMTP_SOURCE_DIR) + "/docs/bsmtp.conf.example");
  const std::string sample((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EXPECT_EQ(sample, text) << "regenerate: bsmtpctl config describe > docs/bsmtp.conf.example";
}

// A parcel is taken or refused as a whole, so a limit that one honest message can reach costs the
// others of its batch: deflate makes at most 1032 octets of one, and a line may be a whole message.
TEST(Config, NoDefaultLimitLetsOneHonestMessageVoidItsParcel) {
  const Config c = must_parse(kMinimal);
  EXPECT_GT(c.max_inflate_ratio, 1032U);
  EXPECT_GE(c.max_line, c.max_inflated_bytes);
}

TEST(Config, PeerIsFoundByNamePseudoDomainAndNeverLabel) {
  const Config c = must_parse(kMinimal);
  for (const char* text :
       {"remote1", "REMOTE1", "remote1.bsmtp.invalid", "never.remote1.bsmtp.invalid",
        "Never.Remote1.BSMTP.Invalid", "remote1.bsmtp.invalid."}) {
    EXPECT_NE(c.peer_for_argument(text), nullptr) << text;
  }
  for (const char* text : {"remote2", "x.remote1.bsmtp.invalid", "remote1.invalid", "", "."}) {
    EXPECT_EQ(c.peer_for_argument(text), nullptr) << text;
  }
}

class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string t = (std::filesystem::temp_directory_path() / "bsmtp-config-XXXXXX").string();
    ASSERT_NE(mkdtemp(t.data()), nullptr);
    dir_ = t;
    std::filesystem::create_directory(dir_ / "peers.d");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name) << text;
  }
  std::filesystem::path dir_;
};

TEST_F(ConfigFiles, PeersDirectoryIsReadInNameOrderAndMayExtendAPeer) {
  put("bsmtp.conf", kMinimal);
  put("peers.d/b.conf", "[peer.b]\nhost = b.b\nrecipient-domains = *\n");
  put("peers.d/a.conf", "[peer.remote1]\nopenpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567\n");
  put("peers.d/a.conf.bak", "garbage");
  const auto r = load((dir_ / "bsmtp.conf").string());
  ASSERT_TRUE(r.is_ok()) << r.status().to_string();
  EXPECT_EQ(r->files.size(), 3U);
  EXPECT_EQ(r->peers.size(), 2U);
  EXPECT_EQ(r->peers[0].openpgp_keys.size(), 1U);
}

TEST_F(ConfigFiles, GlobalKeyInPeersDirectoryIsRefused) {
  put("bsmtp.conf", kMinimal);
  put("peers.d/a.conf", "user = mallory\n");
  const auto r = load((dir_ / "bsmtp.conf").string());
  ASSERT_FALSE(r.is_ok());
  EXPECT_THAT(r.status().text(), HasSubstr("a.conf:1"));
}

TEST_F(ConfigFiles, MissingFileSaysWhatToDo) {
  const auto r = load((dir_ / "none.conf").string());
  ASSERT_FALSE(r.is_ok());
  EXPECT_TRUE(r.status().is_temporary());
  EXPECT_THAT(r.status().text(), HasSubstr("none.conf"));
  EXPECT_THAT(r.status().text(), HasSubstr("create it"));
}

}  // namespace
}  // namespace bsmtp::config
