// Netstring requests, whole, cut at every octet and hostile; replies.
#include "common/socketmap/protocol.h"

#include <gtest/gtest.h>

#include <string>

namespace bsmtp::socketmap {
namespace {

std::string netstring(std::string_view payload) {
  return std::to_string(payload.size()) + ":" + std::string(payload) + ",";
}

struct Good {
  const char* name;
  std::string payload;
  std::string map;
  std::string key;
};

TEST(SocketmapRequest, NameAndKey) {
  const Good cases[] = {
      {"an address", "transport user@domain.co.uk", "transport", "user@domain.co.uk"},
      {"a blank in the key", "transport \"a b\"@domain.co.uk", "transport", "\"a b\"@domain.co.uk"},
      {"an empty key", "bsmtp ", "bsmtp", ""},
      {"a key that begins with a blank", "m  x", "m", " x"},
      {"a comma and a netstring in the key", "m 3:a b,", "m", "3:a b,"},
      {"NUL and line ends", std::string("m a\0\r\n", 6), "m", std::string("a\0\r\n", 4)},
      {"UTF-8", "transport j\xc3\xbcrgen@domain.co.uk", "transport", "j\xc3\xbcrgen@domain.co.uk"},
      {"the longest", "m " + std::string(kMaxRequest - 2, 'x'), "m",
       std::string(kMaxRequest - 2, 'x')},
  };
  for (const Good& c : cases) {
    const std::string text = netstring(c.payload) + "rest";
    const Parsed parsed = parse_request(text);
    ASSERT_EQ(parsed.outcome, Outcome::kRequest) << c.name;
    EXPECT_EQ(parsed.name, c.map) << c.name;
    EXPECT_EQ(parsed.key, c.key) << c.name;
    EXPECT_EQ(parsed.consumed, text.size() - 4) << c.name;
  }
}

TEST(SocketmapRequest, TruncatedAtEveryOctetIsIncomplete) {
  const std::string text = netstring("transport user@domain.co.uk");
  for (std::size_t n = 0; n < text.size(); ++n) {
    EXPECT_EQ(parse_request(std::string_view(text).substr(0, n)).outcome, Outcome::kIncomplete)
        << n;
  }
  EXPECT_EQ(parse_request(text).outcome, Outcome::kRequest);
}

TEST(SocketmapRequest, WhatCanNeverBeOneIsBadAtOnce) {
  const struct {
    const char* name;
    std::string text;
  } cases[] = {
      {"no digit", "transport user@domain.co.uk"},
      {"a blank before the length", " 5:m key,"},
      {"a sign", "-5:m key,"},
      {"a leading zero", "05"},
      {"nothing", "0:,"},
      {"one octet too long", std::to_string(kMaxRequest + 1)},
      {"five digits", "10000"},
      {"a length without end", "99999999999999999999"},
      {"no colon", "5 "},
      {"no comma", "5:m key;"},
      {"no blank", "5:mapke"},
      {"no name", "5: "},
      {"HTTP", "GET / HTTP/1.0\r\n"},
      {"TLS", "\x16\x03\x01"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(parse_request(c.text).outcome, Outcome::kBad) << c.name;
  }
  EXPECT_EQ(parse_request(std::to_string(kMaxRequest)).outcome, Outcome::kIncomplete);
}

TEST(SocketmapRequest, SeveralInOneText) {
  const std::string text = netstring("m a") + netstring("m b") + "5:m";
  std::string_view rest = text;
  std::string keys;
  for (Parsed p = parse_request(rest); p.outcome == Outcome::kRequest; p = parse_request(rest)) {
    keys += p.key;
    rest.remove_prefix(p.consumed);
  }
  EXPECT_EQ(keys, "ab");
  EXPECT_EQ(rest, "5:m");
}

TEST(SocketmapReply, Statuses) {
  std::string out;
  append_reply(out, Answer::kOk, "bsmtp-out:remote1.bsmtp.invalid");
  append_reply(out, Answer::kNotFound, "");
  append_reply(out, Answer::kTemp, "x");
  append_reply(out, Answer::kTimeout, "x");
  append_reply(out, Answer::kPerm, "x");
  EXPECT_EQ(out,
            "34:OK bsmtp-out:remote1.bsmtp.invalid,9:NOTFOUND ,6:TEMP x,9:TIMEOUT x,6:PERM x,");
}

TEST(SocketmapReply, AValueThatDoesNotFitIsNotCutShort) {
  std::string out;
  append_reply(out, Answer::kOk, std::string(kMaxRequest - 3, 'v'));
  EXPECT_EQ(out, netstring("OK " + std::string(kMaxRequest - 3, 'v')));
  out.clear();
  append_reply(out, Answer::kOk, std::string(kMaxRequest - 2, 'v'));
  EXPECT_EQ(out, netstring("TEMP the value is too long"));
}

}  // namespace
}  // namespace bsmtp::socketmap
