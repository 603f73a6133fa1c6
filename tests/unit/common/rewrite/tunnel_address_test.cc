// The diverted form: what is encoded comes back, what cannot is refused with the reason.
#include "common/rewrite/tunnel_address.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "common/mail/address.h"

namespace bsmtp::rewrite {
namespace {

TEST(TunnelAddress, Encode) {
  const struct {
    const char* local;
    const char* domain;
    const char* diverted;
  } rows[] = {
      {"user", "domain.co.uk", "user%domain.co.uk@remote1.bsmtp.invalid"},
      {"User+Tag", "Domain.CO.uk.", "User+Tag%Domain.CO.uk@remote1.bsmtp.invalid"},
      {"\"a b\"", "domain.co.uk", "\"a b%domain.co.uk\"@remote1.bsmtp.invalid"},
      {"\"ab\"", "domain.co.uk", "ab%domain.co.uk@remote1.bsmtp.invalid"},
      {"\"a..b\"", "d.uk", "\"a..b%d.uk\"@remote1.bsmtp.invalid"},
      {"\".a\"", "d.uk", "\".a%d.uk\"@remote1.bsmtp.invalid"},
      {"a%b", "d.uk", "a%b%d.uk@remote1.bsmtp.invalid"},
      {"a!b", "d.uk", "a!b%d.uk@remote1.bsmtp.invalid"},
      {"j\xc3\xb6rg", "b\xc3\xbc.example", "j\xc3\xb6rg%b\xc3\xbc.example@remote1.bsmtp.invalid"},
      {"o'neil/x=y", "x_y.uk", "o'neil/x=y%x_y.uk@remote1.bsmtp.invalid"},
  };
  for (const auto& row : rows) {
    const auto diverted = encode_tunnel(row.local, row.domain, "remote1");
    ASSERT_TRUE(diverted.is_ok()) << row.local << ": " << diverted.status().to_string();
    EXPECT_EQ(diverted.value(), row.diverted);
  }
  EXPECT_EQ(encode_tunnel("u", "d.uk", "r", true).value(), "u%d.uk@never.r.bsmtp.invalid");
}

TEST(TunnelAddress, NotDivertible) {
  const struct {
    const char* name;
    std::string local;
    std::string domain;
    const char* why;
  } rows[] = {
      {"empty local part", "", "d.uk", "neither a dot-atom"},
      {"empty quotes", "\"\"", "d.uk", "the local part is empty"},
      {"leading dash", "-u", "d.uk", "begins with \"-\""},
      {"quoted leading dash", "\"-u v\"", "d.uk", "begins with \"-\""},
      {"double dot without quotes", "a..b", "d.uk", "neither a dot-atom"},
      {"blank without quotes", "a b", "d.uk", "neither a dot-atom"},
      {"blank at the edge", "\" a\"", "d.uk", "begins or ends with a blank"},
      {"at sign in quotes", "\"a@b\"", "d.uk", "not proven to survive"},
      {"backslash", "\"a\\\\b\"", "d.uk", "not proven to survive"},
      {"quote in quotes", "\"a\\\"b\"", "d.uk", "not proven to survive"},
      {"parenthesis", "\"a(b)\"", "d.uk", "not proven to survive"},
      {"comma", "\"a,b\"", "d.uk", "not proven to survive"},
      {"open quote", "\"ab", "d.uk", "neither a dot-atom"},
      {"invalid UTF-8", "a\xff", "d.uk", "UTF-8"},
      {"literal", "u", "[1.2.3.4]", "literals"},
      {"no domain", "u", "", "no host name"},
      {"empty label", "u", "a..b", "no host name"},
      {"percent in the domain", "u", "a%b", "no host name"},
      {"diverted already", "u%d.uk", "remote1.bsmtp.invalid", "diverted already"},
      {"too long", std::string(230, 'x'), "d.uk", "too long"},
  };
  for (const auto& row : rows) {
    const auto diverted = encode_tunnel(row.local, row.domain, "remote1");
    ASSERT_FALSE(diverted.is_ok()) << row.name;
    EXPECT_EQ(diverted.status().code(), "5.1.3");
    const bool dot_atom_or_utf8 =
        diverted.status().text().find(row.why) != std::string::npos ||
        (std::string_view(row.why) == "UTF-8" && diverted.status().is_permanent());
    EXPECT_TRUE(dot_atom_or_utf8) << row.name << ": " << diverted.status().text();
  }
  for (const char* peer : {"", "Remote1", "a.b", "a_b", "123456789012345678901234567890123"}) {
    EXPECT_FALSE(encode_tunnel("u", "d.uk", peer).is_ok()) << peer;
  }
}

TEST(TunnelAddress, LengthLimitIsExact) {
  const std::string rest = "%d.uk@remote1.bsmtp.invalid";
  const std::string fits(kMaxDiverted - rest.size(), 'x');
  EXPECT_EQ(encode_tunnel(fits, "d.uk", "remote1").value().size(), kMaxDiverted);
  EXPECT_FALSE(encode_tunnel(fits + "x", "d.uk", "remote1").is_ok());
}

TEST(TunnelAddress, Decode) {
  const struct {
    const char* address;
    const char* local;
    const char* domain;
    const char* peer;
    bool never;
  } rows[] = {
      {"user%domain.co.uk@remote1.bsmtp.invalid", "user", "domain.co.uk", "remote1", false},
      {"<user%domain.co.uk@remote1.bsmtp.invalid>", "user", "domain.co.uk", "remote1", false},
      {"User%D.uk@Remote1.BSMTP.Invalid", "User", "D.uk", "remote1", false},
      {"u%d.uk@never.remote1.bsmtp.invalid", "u", "d.uk", "remote1", true},
      {"u%d.uk@never.bsmtp.invalid", "u", "d.uk", "never", false},
      {"u%d.uk@never.never.bsmtp.invalid", "u", "d.uk", "never", true},
      {"\"a b%d.uk\"@r.bsmtp.invalid", "\"a b\"", "d.uk", "r", false},
      {"a b%d.uk@r.bsmtp.invalid", "\"a b\"", "d.uk", "r", false},  // pipe without flag q
      {"a..b%d.uk@r.bsmtp.invalid", "\"a..b\"", "d.uk", "r", false},
      {"a%b%c.d@r.bsmtp.invalid", "a%b", "c.d", "r", false},
  };
  for (const auto& row : rows) {
    const auto t = decode_tunnel(row.address);
    ASSERT_TRUE(t.is_ok()) << row.address << ": " << t.status().to_string();
    EXPECT_EQ(t->local, row.local) << row.address;
    EXPECT_EQ(t->domain, row.domain) << row.address;
    EXPECT_EQ(t->peer, row.peer) << row.address;
    EXPECT_EQ(t->never, row.never) << row.address;
  }
}

TEST(TunnelAddress, DecodeRefuses) {
  for (const char* address : {"",
                              "@",
                              "user",
                              "user@domain.co.uk",
                              "user@remote1.bsmtp.invalid",
                              "%d.uk@r.bsmtp.invalid",
                              "u%@r.bsmtp.invalid",
                              "u%d.uk@bsmtp.invalid",
                              "u%d.uk@.bsmtp.invalid",
                              "u%d.uk@a.b.bsmtp.invalid",
                              "u%d.uk@never.a.b.bsmtp.invalid",
                              "u%d.uk@r_x.bsmtp.invalid",
                              "-u%d.uk@r.bsmtp.invalid",
                              "u%r.bsmtp.invalid@r.bsmtp.invalid",
                              "u%[1.2.3.4]@r.bsmtp.invalid",
                              "\"u%d.uk@r.bsmtp.invalid",
                              "u\\%d.uk@r.bsmtp.invalid",
                              "a@b%d.uk@r.bsmtp.invalid",
                              "u\n%d.uk@r.bsmtp.invalid",
                              "<u%d.uk@r.bsmtp.invalid"}) {
    const auto t = decode_tunnel(address);
    EXPECT_FALSE(t.is_ok()) << address;
    EXPECT_TRUE(t.status().is_permanent());
  }
}

TEST(TunnelAddress, PseudoDomains) {
  EXPECT_TRUE(is_pseudo_domain("remote1.bsmtp.invalid"));
  EXPECT_TRUE(is_pseudo_domain("BSMTP.INVALID."));
  EXPECT_TRUE(is_pseudo_domain("a.b.c.bsmtp.invalid"));
  EXPECT_FALSE(is_pseudo_domain("xbsmtp.invalid"));
  EXPECT_FALSE(is_pseudo_domain(""));
  EXPECT_EQ(pseudo_domain("r"), "r.bsmtp.invalid");
  EXPECT_EQ(pseudo_domain("r", true), "never.r.bsmtp.invalid");
}

// Random addresses from an alphabet rich in what goes wrong: what is encoded comes back, in both
// forms that agents are given, and nothing encoded can be read as another address.
TEST(TunnelAddress, RoundTripOfManyAddresses) {
  std::mt19937 random(20261122);
  const std::vector<std::string> pieces = {"a", "B",  "0",  "-", "+", "%",        "!",
                                           ".", " ",  "=",  "'", "_", "\xc3\xb6", "\xe2\x82\xac",
                                           "@", "\"", "\\", "("};
  const std::vector<std::string> domains = {"d.uk", "Domain.CO.uk", "a-b.c_d.example",
                                            "b\xc3\xbc.example", "x"};
  std::size_t encoded = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string value;
    for (auto n = 1 + random() % 8; n > 0; --n) {
      value += pieces[random() % (random() % 4 == 0 ? pieces.size() : 14)];
    }
    const std::string& domain = domains[random() % domains.size()];
    const bool never = random() % 2 == 0;
    const std::string local = mail::quote_local(value);
    const auto diverted = encode_tunnel(local, domain, "remote1", never);
    if (!diverted.is_ok()) {
      continue;
    }
    ++encoded;
    EXPECT_LE(diverted->size(), kMaxDiverted);
    EXPECT_TRUE(mail::is_safe_path(diverted.value()));
    const auto back = decode_tunnel(diverted.value());
    ASSERT_TRUE(back.is_ok()) << diverted.value() << ": " << back.status().to_string();
    EXPECT_EQ(mail::dequote_local(back->local), value) << diverted.value();
    EXPECT_EQ(back->local, local);
    EXPECT_EQ(back->domain, domain);
    EXPECT_EQ(back->peer, "remote1");
    EXPECT_EQ(back->never, never);
    const auto dequoted =
        decode_tunnel(value + "%" + domain + "@" + pseudo_domain("remote1", never));
    ASSERT_TRUE(dequoted.is_ok());
    EXPECT_EQ(dequoted->address(), back->address());
  }
  EXPECT_GT(encoded, 5000U);
}

}  // namespace
}  // namespace bsmtp::rewrite
