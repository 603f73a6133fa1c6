#include "common/parcel/manifest.h"

#include <gtest/gtest.h>

#include "common/base/units.h"

namespace bsmtp::parcel {
namespace {

constexpr std::string_view kGood =
    "v=1; id=0195f3c1a2b30123456789abcdef0123456789abcdef; from=hub.domain.com;"
    " to=athena.domain.co.uk; t=20261122T011000Z; x=20261127T011000Z; rr=1";

std::string with(std::string_view from, std::string_view to) {
  std::string text(kGood);
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(Manifest, ReadsAllTags) {
  const auto m = parse_manifest(kGood);
  ASSERT_TRUE(m.is_ok()) << m.status().to_string();
  EXPECT_EQ(m->id, "0195f3c1a2b30123456789abcdef0123456789abcdef");
  EXPECT_EQ(m->from, "hub.domain.com");
  EXPECT_EQ(m->to, "athena.domain.co.uk");
  EXPECT_EQ(format_iso(m->created), "20261122T011000Z");
  EXPECT_EQ(format_iso(m->expires), "20261127T011000Z");
  EXPECT_EQ(m->receipt, Receipt::kWanted);
}

TEST(Manifest, RoundTripsFolded) {
  const Manifest m = parse_manifest(kGood).value();
  const auto text = format_manifest(m);
  ASSERT_TRUE(text.is_ok());
  EXPECT_NE(text->find("\r\n "), std::string::npos);
  const auto again = parse_manifest(*text);
  ASSERT_TRUE(again.is_ok()) << again.status().to_string();
  EXPECT_EQ(again->id, m.id);
  EXPECT_EQ(again->created, m.created);
  EXPECT_EQ(again->receipt, m.receipt);
}

TEST(Manifest, Accepts) {
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"a last semicolon", std::string(kGood) + ";"},
      {"no receipt tag", with("; rr=1", "")},
      {"an unknown tag", std::string(kGood) + "; later=thing"},
      {"a critical tag it knows", std::string(kGood) + "; crit=id:rr"},
      {"blanks around the equals sign", with("rr=1", "rr = 1")},
      {"exactly 30 days", with("x=20261127", "x=20261222")},
  };
  for (const auto& c : kCases) {
    EXPECT_TRUE(parse_manifest(c.text).is_ok()) << c.name;
  }
}

TEST(Manifest, Refuses) {
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"nothing", ""},
      {"a later version", with("v=1", "v=2")},
      {"no version", with("v=1; ", "")},
      {"version not first", with("v=1; ", "") + "; v=1"},
      {"a tag twice", std::string(kGood) + "; rr=1"},
      {"an unknown tag twice", std::string(kGood) + "; q=1; q=2"},
      {"an unknown critical tag", std::string(kGood) + "; crit=later"},
      {"no id", with("id=0195f3c1a2b30123456789abcdef0123456789abcdef; ", "")},
      {"an id in capitals", with("abcdef0123456789abcdef", "ABCDEF0123456789abcdef")},
      {"an id with a path", with("id=0195", "id=../0")},
      {"a host in capitals", with("hub.domain.com", "Hub.domain.com")},
      {"a host without a dot", with("hub.domain.com", "hub")},
      {"an empty label", with("hub.domain.com", "hub..com")},
      {"expiry before creation", with("x=20261127", "x=20261121")},
      {"expiry equal to creation", with("x=20261127", "x=20261122")},
      {"more than 30 days", with("x=20261127", "x=20261223")},
      {"a time of another form", with("t=20261122T011000Z", "t=2026-11-22")},
      {"a receipt of 3", with("rr=1", "rr=3")},
      {"an empty entry", with("; rr=1", ";; rr=1")},
      {"an entry without =", std::string(kGood) + "; hello"},
      {"a control character", std::string(kGood) + "; q=\x01"},
      {"8-bit", std::string(kGood) + "; q=\xC3\xBC"},
      {"too long", std::string(kGood) + "; q=" + std::string(5000, 'x')},
  };
  for (const auto& c : kCases) {
    const auto m = parse_manifest(c.text);
    ASSERT_FALSE(m.is_ok()) << c.name;
    EXPECT_EQ(m.status().code(), "5.6.0") << c.name;
  }
}

}  // namespace
}  // namespace bsmtp::parcel
