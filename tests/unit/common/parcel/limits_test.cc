// What the builder sends, the opener with default limits takes: an honest message that is odd (one
// huge line, nothing but zeros, thousands of recipients) must not void the mail of all others.
// What is over the limits is refused where its sender can still be told.
#include "common/parcel/builder.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

class LimitsTest : public ParcelTest {
 protected:
  static std::string repeated(std::string_view line, std::size_t octets) {
    std::string text = "Subject: odd\r\n\r\n";
    while (text.size() < octets) {
      text += line;
    }
    return text;
  }

  static std::vector<std::string> recipients(std::size_t count) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back("user" + std::to_string(i) + "@domain.co.uk");
    }
    return all;
  }

  // The status of build() with that request, expected to be permanent.
  Status refused(BuildRequest r, std::size_t& bad) {
    auto s = signer(rings->hub_key);
    r.signer = &s;
    os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
    bad = 99;
    const auto built = build(r, os::real_file_ops(), out, &bad);
    EXPECT_TRUE(built.status().is_permanent()) << built.status().to_string();
    return built.status();
  }
};

TEST_F(LimitsTest, OddMailPassesWithTheDefaultLimitsAndTakesNobodyWithIt) {
  const std::vector<Message> ordinary = messages;
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"a line of 100 KB", "Subject: json\r\n\r\n" + std::string(100'000, 'j') + "\r\n"},
      {"a line of 5 MB", "Subject: html\r\n\r\n" + std::string(5'000'000, 'h') + "\r\n"},
      {"20 MB of equal lines", repeated("Nov 22 03:10:00 hub kernel: all is well\r\n", 20'000'000)},
      {"64 MB of zeros in base64",
       repeated(std::string(76, 'A') + "\r\n", 64'000'000)},  // best that deflate can meet
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    messages = ordinary;
    messages.insert(messages.begin() + 1, message("eve@domain.com", {"fred@domain.co.uk"}, c.text));
    // The huge one goes alone when it might not leave room for others.
    BuildResult built;
    std::vector<Message> left = messages;
    std::vector<Message> all;
    while (!left.empty()) {
      BuildRequest r = request(Profile::kNative);
      r.items = items_of(left);
      const std::string whole = mail_of(build_entity(r, "", &built));
      ASSERT_GT(built.items, 0U);
      expect_opened(whole, built.items);
      all.insert(all.end(), delivered.begin(), delivered.end());
      left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(built.items));
    }
    delivered = all;
    expect_same_messages();
  }
}

TEST_F(LimitsTest, HighRatioIsTakenFromAnUnsignedPeerToo) {
  messages = {message("a@domain.com", {"b@domain.co.uk"},
                      repeated(std::string(76, 'A') + "\r\n", 20'000'000))};
  transport_peer = "hub";
  peers[0].require_signature = false;
  expect_opened(mail_of(build_entity(request(Profile::kPmdfGzip))), 1);
  expect_same_messages();
}

TEST_F(LimitsTest, ItemOverALimitIsNamedSoThatItsSenderCanBeTold) {
  const struct {
    const char* name;
    const char* code;
    void (*tighten)(Limits&);
    Message odd;
  } kCases[] = {
      {"line", "5.6.1", [](Limits& l) { l.line = 1000; },
       message("a@domain.com", {"b@domain.co.uk"}, std::string(1001, 'x') + "\r\n")},
      {"recipients", "5.5.3", [](Limits& l) { l.messages = 3; },
       message("a@domain.com", recipients(301), "x\r\n")},
      {"inflated size", "5.3.4", [](Limits& l) { l.inflate.max_bytes = 1'000'000; },
       message("a@domain.com", {"b@domain.co.uk"}, repeated("zero\r\n", 1'000'000))},
      {"inflated size of all copies", "5.3.4", [](Limits& l) { l.inflate.max_bytes = 1'000'000; },
       message("a@domain.com", recipients(1000), repeated("zero\r\n", 110'000))},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    BuildRequest r = request(Profile::kNative);
    c.tighten(r.limits);
    std::vector<Message> all = messages;
    all.push_back(c.odd);
    r.items = items_of(all);
    std::size_t bad = 99;
    const Status status = refused(r, bad);
    EXPECT_EQ(bad, 2U);
    EXPECT_EQ(status.code(), c.code) << status.text();
    // Without it the others go.
    r.items.pop_back();
    expect_opened(mail_of(build_entity(r)), 2);
  }
}

TEST_F(LimitsTest, MessageThatMakesTooLargeAParcelAloneIsRefused) {
  std::string noise;
  for (unsigned i = 0, x = 1; i < 300'000; ++i) {
    x = x * 1664525U + 1013904223U;
    noise += i % 70 == 69 ? std::string("\r\n") : std::string(1, static_cast<char>('0' + x % 61));
  }
  messages = {message("a@domain.com", {"b@domain.co.uk"}, noise + "\r\n")};
  BuildRequest r = request(Profile::kNative);
  r.limits.parcel_bytes = 200'000;
  std::size_t bad = 99;
  EXPECT_EQ(refused(r, bad).code(), "5.3.4");
  EXPECT_EQ(bad, 0U);
  r.limits.parcel_bytes = 600'000;
  limits.parcel_bytes = 600'000;
  expect_opened(mail_of(build_entity(r)), 1);
  expect_same_messages();
}

TEST_F(LimitsTest, WhatOneParcelCannotHoldStaysForTheNext) {
  messages.clear();
  for (int i = 0; i < 10; ++i) {
    messages.push_back(message("a@domain.com", {"b@domain.co.uk"}, repeated("zero\r\n", 100'000)));
  }
  const struct {
    const char* name;
    void (*tighten)(Limits&);
    std::size_t fit;
  } kCases[] = {
      {"default", [](Limits&) {}, 10},
      {"inflated size", [](Limits& l) { l.inflate.max_bytes = 650'000; }, 5},
      {"messages", [](Limits& l) { l.messages = 7; }, 7},
      {"size of the parcel if nothing compressed", [](Limits& l) { l.parcel_bytes = 800'000; }, 3},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    BuildRequest r = request(Profile::kNative);
    c.tighten(r.limits);
    limits = r.limits;
    BuildResult built;
    expect_opened(mail_of(build_entity(r, "", &built)), c.fit);
    EXPECT_EQ(built.items, c.fit);
    EXPECT_EQ(built.messages, c.fit);
  }
}

TEST_F(LimitsTest, ItemThatIsPutBackDoesNotMarkTheParcel) {
  messages = {message("a@domain.com", {"b@domain.co.uk"}, "x\r\n"),
              message("j\xC3\xBC@domain.com", {"b@domain.co.uk"}, "x\r\n")};
  messages[1].envelope.smtputf8 = true;
  BuildRequest r = request(Profile::kNative);
  r.agreement.smtputf8 = true;
  r.limits.messages = 1;
  expect_opened(mail_of(build_entity(r)), 1);  // by a peer that has not agreed to SMTPUTF8
}

TEST_F(LimitsTest, ManyRecipientsBecomeTransactionsOfAHundred) {
  messages = {message("a@domain.com", recipients(1234), ".dot\r\nx\r\n"),
              message("a@domain.com", recipients(100), "y\r\n")};
  BuildResult built;
  expect_opened(mail_of(build_entity(request(Profile::kNative), "", &built)), 14);
  EXPECT_EQ(built.items, 2U);
  EXPECT_EQ(built.messages, 14U);
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < 13; ++i) {
    EXPECT_EQ(delivered[i].text, messages[0].text);
    EXPECT_LE(delivered[i].envelope.recipients.size(), 100U);
    for (const mail::Recipient& recipient : delivered[i].envelope.recipients) {
      seen.push_back(recipient.address);
    }
  }
  EXPECT_EQ(seen, recipients(1234));
}

}  // namespace
}  // namespace bsmtp::parcel
