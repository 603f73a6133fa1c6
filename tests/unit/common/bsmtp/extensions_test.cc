#include "common/bsmtp/extensions.h"

#include <gtest/gtest.h>

#include "common/base/text.h"

namespace bsmtp::batch {
namespace {

constexpr const char* kUtf8Address = "j\xC3\xB6rg@domain.com";

mail::Envelope plain() {
  mail::Envelope envelope;
  envelope.sender = "ann@domain.com";
  envelope.recipients.resize(1);
  envelope.recipients[0].address = "bob@domain.co.uk";
  return envelope;
}

TEST(Requirements, CountOnlyWhatIsAgreed) {
  const struct {
    const char* name;
    void (*change)(mail::Envelope&);
    const char* agreed;      // code when SMTPUTF8 is agreed
    const char* not_agreed;  // and when not
  } cases[] = {
      {"plain", [](mail::Envelope&) {}, "2.0.0", "2.0.0"},
      {"SMTPUTF8",
       [](mail::Envelope& e) {
         e.smtputf8 = true;
         e.sender = kUtf8Address;
       },
       "2.0.0", "5.6.7"},
      {"UTF-8 sender without the parameter", [](mail::Envelope& e) { e.sender = kUtf8Address; },
       "5.6.7", "5.6.7"},
      {"UTF-8 recipient without it",
       [](mail::Envelope& e) { e.recipients[0].address = kUtf8Address; }, "5.6.7", "5.6.7"},
      {"UTF-8 ORCPT without it",
       [](mail::Envelope& e) { e.recipients[0].orcpt = std::string("utf-8;") + kUtf8Address; },
       "5.6.7", "5.6.7"},
      {"another extension of MAIL",
       [](mail::Envelope& e) {
         e.other = {{"MT-PRIORITY", "3", true}};
       },
       "5.5.4", "5.5.4"},
      {"another extension of RCPT",
       [](mail::Envelope& e) {
         e.recipients[0].other = {{"RRVS", "x", true}};
       },
       "5.5.4", "5.5.4"},
  };
  for (const auto& c : cases) {
    for (const bool agreed : {true, false}) {
      mail::Envelope envelope = plain();
      c.change(envelope);
      Requirements requirements;
      const Status status = requirements.add(envelope, Agreement{agreed});
      EXPECT_EQ(status.code(), agreed ? c.agreed : c.not_agreed) << c.name;
      EXPECT_EQ(requirements.is_default(), !(envelope.smtputf8 && status.is_ok())) << c.name;
    }
  }
}

TEST(Requirements, ValueListsWhatIsUsed) {
  Requirements requirements;
  ASSERT_TRUE(requirements.add(plain(), {}).is_ok());
  EXPECT_EQ(requirements.value(), "8bitMIME,SIZE,NOTARY");
  mail::Envelope utf8 = plain();
  utf8.smtputf8 = true;
  ASSERT_TRUE(requirements.add(utf8, Agreement{true}).is_ok());
  EXPECT_EQ(requirements.value(), "8bitMIME,SIZE,NOTARY,SMTPUTF8");
}

TEST(RequiredExtensions, AreKeywordsBetweenCommas) {
  EXPECT_EQ(*parse_required_extensions(" 8bitMIME , SIZE,NOTARY "),
            (std::vector<std::string>{"8bitMIME", "SIZE", "NOTARY"}));
  const std::string many = [] {
    std::string list = "A";
    for (int i = 0; i < 32; ++i) {
      list += ",A";
    }
    return list;
  }();
  for (const std::string& bad :
       {std::string(), std::string("A,,B"), std::string("A B"), std::string("A;B"),
        std::string("\xC3\xB6"), std::string(65, 'A'), many}) {
    const auto got = parse_required_extensions(bad);
    EXPECT_EQ(got.status().code(), "5.6.0") << bad;
  }
}

TEST(RequiredExtensions, UnsupportedOnesAreNamed) {
  EXPECT_TRUE(check_required_extensions({"8bitmime", "size", "dsn", "Pipelining"}, {}).is_ok());
  EXPECT_TRUE(check_required_extensions({"SMTPUTF8"}, Agreement{true}).is_ok());
  for (const char* keyword : {"SMTPUTF8", "CHUNKING", "X-FOO"}) {
    const Status status = check_required_extensions({"SIZE", keyword}, {});
    EXPECT_TRUE(status.is_permanent()) << keyword;
    EXPECT_NE(status.text().find(keyword), std::string::npos) << status.text();
  }
}

}  // namespace
}  // namespace bsmtp::batch
