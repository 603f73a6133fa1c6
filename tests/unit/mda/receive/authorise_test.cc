#include "mda/receive/authorise.h"

#include <gtest/gtest.h>

#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

config::Config make_config() {
  auto parsed = config::parse(
      "host = athena.domain.co.uk\nown-domains = domain.co.uk .domain.co.uk\n"
      "[peer.remote1]\nhost = hub.domain.com\nrecipient-domains = domain.co.uk .domain.co.uk\n"
      "[peer.open]\nhost = zeus.net\nrecipient-domains = *\nsender-domains = zeus.net .zeus.net\n"
      "[peer.any]\nhost = any.net\nrecipient-domains = *\nsender-domains = *\n",
      "test");
  EXPECT_TRUE(parsed.is_ok()) << parsed.status().text();
  return *parsed;
}

struct Case {
  const char* name;
  const char* peer;
  const char* sender;
  std::vector<std::string> recipients;
  std::uint64_t received;
  const char* expected;  // "recipient code" of each refusal, blank-separated
};

TEST(Authorise, DecidesPerMessageAndRecipient) {
  const config::Config config = make_config();
  const RouteLookup route = [](std::string_view domain) -> std::string {
    return iequals(domain, "zeus.net")         ? "open"
           : iequals(domain, "hub.domain.com") ? "remote1"
                                               : "";
  };
  const std::vector<Case> cases = {
      {"ordinary", "remote1", "ann@domain.com", {"bob@domain.co.uk"}, 3, ""},
      {"null sender", "remote1", "", {"bob@domain.co.uk"}, 0, ""},
      {"sub domain, upper case, dot", "remote1", "a@b.c", {"bob@MAIL.Domain.co.uk."}, 0, ""},
      {"our own sender", "remote1", "root@domain.co.uk", {"bob@domain.co.uk"}, 0, "0 5.7.1"},
      {"our own sender below", "remote1", "r@x.domain.co.uk", {"bob@domain.co.uk"}, 0, "0 5.7.1"},
      {"our own sender, dot", "remote1", "r@Domain.co.uk.", {"bob@domain.co.uk"}, 0, "0 5.7.1"},
      {"a literal may be us", "remote1", "r@[10.0.0.1]", {"b@domain.co.uk"}, 0, "0 5.7.1"},
      {"a literal that is allowed", "any", "r@[10.0.0.1]", {"b@domain.co.uk"}, 0, ""},
      {"our own sender that is allowed", "any", "r@domain.co.uk", {"b@domain.co.uk"}, 0, ""},
      {"private sender", "any", "u%d@remote1.bsmtp.invalid", {"b@domain.co.uk"}, 0, "0 5.1.8"},
      {"our gateway as sender", "any", "bsmtp+1@athena.domain.co.uk", {"b@c.uk"}, 0, "0 5.7.1"},
      {"a peer's gateway as sender", "any", "bsmtp@hub.domain.com", {"b@c.uk"}, 0, "0 5.7.1"},
      {"sender without domain", "remote1", "root", {"bob@domain.co.uk"}, 0, "0 5.7.1"},
      {"foreign recipient",
       "remote1",
       "a@b.c",
       {"x@y.z", "bob@domain.co.uk", "bob@adomain.co.uk"},
       0,
       "1 5.7.1 3 5.7.1"},
      {"recipient without domain", "remote1", "a@b.c", {"bob"}, 0, "1 5.1.3"},
      {"private domain", "open", "a@zeus.net", {"u%d@remote1.bsmtp.invalid"}, 0, "1 5.1.2"},
      {"own gateway", "remote1", "a@b.c", {"BSMTP@athena.domain.co.uk"}, 0, "1 5.7.1"},
      {"own return address", "remote1", "a@b.c", {"bsmtp+1@athena.domain.co.uk"}, 0, "1 5.7.1"},
      {"own gateway, quoted", "remote1", "a@b.c", {"\"bsmtp\"@athena.domain.co.uk"}, 0, "1 5.7.1"},
      {"a peer's gateway", "open", "a@zeus.net", {"bsmtp@hub.domain.com"}, 0, "1 5.7.1"},
      {"user at the gateway host", "remote1", "a@b.c", {"bsmtpx@athena.domain.co.uk"}, 0, ""},
      {"quoted local part with @", "remote1", "a@b.c", {"\"x@y.z\"@domain.co.uk"}, 0, ""},
      {"listed sender", "open", "a@mail.zeus.net", {"x@y.z"}, 0, ""},
      {"unlisted sender", "open", "a@b.c", {"x@y.z"}, 0, "0 5.7.1"},
      {"back to where it came from", "open", "a@zeus.net", {"b@Zeus.net"}, 0, "1 5.4.6"},
      {"on to another peer", "open", "a@zeus.net", {"b@hub.domain.com"}, 0, ""},
      {"as many hops as allowed", "remote1", "a@b.c", {"bob@domain.co.uk"}, 50, ""},
      {"one hop over the limit", "remote1", "a@b.c", {"bob@domain.co.uk"}, 51, "0 5.4.6"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    mail::Envelope envelope;
    envelope.sender = c.sender;
    for (const std::string& address : c.recipients) {
      mail::Recipient recipient;
      recipient.address = address;
      envelope.recipients.push_back(recipient);
    }
    std::vector<std::string> found;
    for (const auto& refusal :
         authorise(config, *config.find_peer(c.peer), envelope, c.received, route)) {
      found.push_back(std::to_string(refusal.recipient) + " " + refusal.code);
      EXPECT_NE(refusal.text, "");
    }
    EXPECT_EQ(join(found, " "), c.expected);
  }
}

TEST(Authorise, TheHostIsOursAlsoWhenOwnDomainsDoNotSaySo) {
  auto config = config::parse(
      "host = athena.domain.co.uk\nown-domains = domain.co.uk\n"
      "[peer.remote1]\nhost = hub.domain.com\nrecipient-domains = domain.co.uk\n",
      "test");
  ASSERT_TRUE(config.is_ok()) << config.status().text();
  mail::Envelope envelope;
  envelope.sender = "root@Athena.domain.co.uk";
  const auto refused = authorise(*config, config->peers.front(), envelope, 0, {});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused.front().code, "5.7.1");
}

TEST(Authorise, TextsCannotDriveATerminal) {
  const config::Config config = make_config();
  mail::Envelope envelope;
  envelope.sender = "a@b.c";
  mail::Recipient recipient;
  recipient.address = "x\x1b[2J@evil.org";
  envelope.recipients.push_back(recipient);
  const auto refused = authorise(config, config.peers.front(), envelope, 0, {});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused.front().text.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace bsmtp::mda
