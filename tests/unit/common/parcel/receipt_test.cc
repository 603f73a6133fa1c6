#include "common/parcel/receipt.h"

#include <gmock/gmock.h>

#include "common/base/text.h"
#include "common/parcel/structure.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

using spool::ParcelAnswer;
using spool::ParcelFate;
using testing::HasSubstr;

const std::string kDigest(64, 'd');
constexpr std::string_view kBoundary = "=_r0123456789abcdef";

ReceiptFacts facts_of(std::vector<ParcelAnswer> answers) {
  ReceiptFacts facts;
  facts.from = "hub.domain.com";
  facts.to = "athena.domain.co.uk";
  facts.time = TimePoint(std::chrono::seconds(1795310000));
  facts.answers = std::move(answers);
  return facts;
}

ParcelAnswer taken(char id) {
  return {std::string(44, id), kDigest, ParcelFate::kAccepted, "2.0.0", ""};
}
ParcelAnswer refused(char id) {
  return {std::string(44, id), kDigest, ParcelFate::kRejected, "5.6.0",
          "malformed: a line of the batch is neither a command nor the text of a message, and the "
          "parcel is refused as a whole"};
}

std::string text_of(const ReceiptFacts& facts) {
  const auto text = format_receipt(facts, "bsmtp@hub.domain.com", kBoundary);
  EXPECT_TRUE(text.is_ok()) << text.status().to_string();
  return text.is_ok() ? *text : "";
}

TEST(ReceiptText, ReadsBackWhatWasWritten) {
  const ReceiptFacts facts = facts_of({taken('a'), refused('b')});
  const auto read = parse_receipt(text_of(facts));
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ((*read)->from, facts.from);
  EXPECT_EQ((*read)->to, facts.to);
  EXPECT_EQ((*read)->time, facts.time);
  ASSERT_EQ((*read)->answers.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*read)->answers[i].parcel_id, facts.answers[i].parcel_id);
    EXPECT_EQ((*read)->answers[i].digest, facts.answers[i].digest);
    EXPECT_EQ((*read)->answers[i].fate, facts.answers[i].fate);
    EXPECT_EQ((*read)->answers[i].code, facts.answers[i].code);
    EXPECT_EQ((*read)->answers[i].text, facts.answers[i].text);
  }
}

// RFC 3156 3: 7-bit, no blank before a line's end; nothing that a host on the way may fold or
// escape.
TEST(ReceiptText, HasOnlyLinesThatSurviveTheWay) {
  std::vector<ParcelAnswer> answers;
  for (std::size_t i = 0; i < spool::kMaxReceiptParcels; ++i) {
    answers.push_back(refused('a'));
    answers.back().parcel_id.replace(0, 4, std::to_string(1000 + i));
    answers.back().text = std::string(300, 'x') + "  " + std::string(198, 'y');
  }
  const std::string text = text_of(facts_of(answers));
  for (std::string_view line : split(text, '\n')) {
    if (line.empty()) {
      continue;  // behind the last
    }
    ASSERT_TRUE(line.ends_with('\r'));
    line.remove_suffix(1);
    EXPECT_LE(line.size(), 400U);
    EXPECT_FALSE(line.ends_with(' ') || line.starts_with("From ")) << line;
    EXPECT_EQ(printable(line), line);
  }
  EXPECT_EQ((*parse_receipt(text))->answers.back().text,
            std::string(300, 'x') + " " + std::string(198, 'y'));
}

TEST(ReceiptText, IsNeverWrittenWithWhatWouldNotBeRead) {
  const auto fails = [](const ReceiptFacts& facts) {
    const auto text = format_receipt(facts, "bsmtp@hub.domain.com", kBoundary);
    return !text.is_ok() && text.status().is_temporary();
  };
  EXPECT_TRUE(fails(facts_of({})));
  EXPECT_TRUE(fails(facts_of({taken('a'), taken('a')})));
  EXPECT_TRUE(fails(facts_of({taken('z')})));
  EXPECT_TRUE(fails(facts_of(std::vector<ParcelAnswer>(201, taken('a')))));
  ReceiptFacts capital = facts_of({taken('a')});
  capital.to = "Athena.domain.co.uk";
  EXPECT_TRUE(fails(capital));
}

struct Fault {
  const char* name;
  const char* from;
  const char* to;
  const char* why;
};

class ReceiptFault : public testing::TestWithParam<Fault> {};

TEST_P(ReceiptFault, IsRefused) {
  std::string text = text_of(facts_of({taken('a'), refused('b')}));
  const std::size_t at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, std::string_view(GetParam().from).size(), GetParam().to);
  const auto read = parse_receipt(text);
  ASSERT_FALSE(read.is_ok());
  EXPECT_TRUE(read.status().is_permanent());
  EXPECT_THAT(read.status().text(), HasSubstr(GetParam().why));
}

INSTANTIATE_TEST_SUITE_P(
    All, ReceiptFault,
    testing::Values(
        Fault{"version", "Receipt: v=1", "Receipt: v=2", "v=1"},
        Fault{"critical", "Receipt: v=1;", "Receipt: v=1; crit=ep;", "ep"},
        Fault{"critical_of_a_parcel", "Parcel: v=1;", "Parcel: v=1; crit=frag;", "frag"},
        Fault{"no_from", " from=hub.domain.com;", "", "from="},
        Fault{"no_to", "\r\n to=athena.domain.co.uk;", "", "to="},
        Fault{"twice_from", " to=athena.domain.co.uk;", " from=x.y;", "twice"},
        Fault{"no_time", "t=20261122", "t=2026", "t="},
        Fault{"other_reporter", "dns; hub.domain.com", "dns; mars.domain.org", "Reporting-MTA"},
        Fault{"no_reporter", "Reporting-MTA", "Reporting-UA", "Reporting-MTA"},
        Fault{"two_receipts", "Reporting-MTA:", "X-BSMTP-Receipt: v=1\r\nReporting-MTA:", "twice"},
        Fault{"short_id", "id=aa", "id=a", "parcel id"},
        Fault{"short_digest", "d=dd", "d=d", "digest"},
        Fault{"unknown_state", "s=accepted", "s=perhaps", "s="},
        Fault{"no_state", "\r\n s=accepted", "", "s="},
        Fault{"accepted_but_failed", "Action: relayed", "Action: failed", "contradicts"},
        Fault{"accepted_with_5", "Status: 2.0.0", "Status: 5.0.0", "contradicts"},
        Fault{"rejected_for_now", "Status: 5.6.0", "Status: 4.6.0", "contradicts"},
        Fault{"no_status", "Status: 2.0.0", "X-Status: 2.0.0", "Status"},
        Fault{"two_parcels_in_a_group", "s=accepted\r\n", "s=accepted\r\nX-BSMTP-Parcel: v=1\r\n",
              "twice"},
        Fault{"a_group_without_parcel", "Final-Recipient", "A: b\r\n\r\nFinal-Recipient",
              "X-BSMTP-Parcel"},
        Fault{"no_field", "Action: relayed", "Action", "no field"},
        Fault{"continues_nothing", "\r\n\r\nFinal", "\r\n\r\n Final", "continu"},
        Fault{"encoded", "message/delivery-status\r\n",
              "message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n", "encoded"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ReceiptText, UnknownTagsAndFieldsAreIgnored) {
  std::string text = text_of(facts_of({taken('a')}));
  text.replace(text.find("Receipt: v=1;"), 13, "Receipt: v=1; cap=z;");
  text.replace(text.find("Status: 2"), 9, "X-Future: y\r\nStatus: 2");
  const auto read = parse_receipt(text);
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_TRUE(read->has_value());
}

TEST(ReceiptText, AnOrdinaryReportIsNoReceipt) {
  std::string text = text_of(facts_of({taken('a')}));
  text.replace(text.find("X-BSMTP-Receipt"), 15, "X-Something-Els");
  const auto read = parse_receipt(text);
  ASSERT_TRUE(read.is_ok());
  EXPECT_FALSE(read->has_value());
  EXPECT_FALSE(parse_receipt("Content-Type: text/plain\r\n\r\nx\r\n")->has_value());
}

class ReceiptMailTest : public ParcelTest {
 protected:
  std::string mail_by(const std::string& key, const ReceiptFacts& facts) {
    auto s = signer(key);
    ReceiptMail mail;
    mail.facts = facts;
    mail.from = "bsmtp@hub.domain.com";
    mail.to = "bsmtp@athena.domain.co.uk";
    mail.message_id = "<r1@hub.domain.com>";
    mail.signer = &s;
    const auto text = build_receipt(mail);
    EXPECT_TRUE(text.is_ok()) << text.status().to_string();
    return text.is_ok() ? *text : "";
  }

  Result<ReceiptResult> open_mail(std::string_view text, const std::string& transport = "") {
    dir.write("mail", text);
    const os::File in = file("mail", os::kReadOnly);
    auto made = crypto::Verifier::open(rings->verify.home(),
                                       {{"hub", {rings->hub_key}}, {"mars", {rings->mars_key}}});
    EXPECT_TRUE(made.is_ok()) << made.status().to_string();
    OpenRequest request;
    request.ops = &os::real_file_ops();
    request.file = &in;
    request.host = "athena.domain.co.uk";
    request.peers = peers;
    request.verifier = &*made;
    request.transport_peer = transport;
    return open_receipt(request);
  }

  Reject reason(std::string_view text, const std::string& transport = "") {
    const auto result = open_mail(text, transport);
    EXPECT_TRUE(result.is_ok()) << result.status().to_string();
    const auto* rejected = result.is_ok() ? std::get_if<Rejected>(&*result) : nullptr;
    EXPECT_NE(rejected, nullptr) << "the receipt was taken";
    return rejected == nullptr ? Reject::kNotAParcel : rejected->reason;
  }
};

TEST_F(ReceiptMailTest, IsTakenFromThePeerWhoseKeySignedIt) {
  const auto result = open_mail(mail_by(rings->hub_key, facts_of({taken('a'), refused('b')})));
  ASSERT_TRUE(result.is_ok()) << result.status().to_string();
  const auto* opened = std::get_if<OpenedReceipt>(&*result);
  ASSERT_NE(opened, nullptr) << std::get<Rejected>(*result).why;
  EXPECT_EQ(opened->peer, "hub");
  EXPECT_EQ(opened->fingerprint, rings->hub_key);
  EXPECT_EQ(opened->facts.answers.size(), 2U);
}

TEST_F(ReceiptMailTest, SaysThatItIsAnAutomaticReply) {
  const std::string text = mail_by(rings->hub_key, facts_of({taken('a')}));
  EXPECT_THAT(text, HasSubstr("\r\nAuto-Submitted: auto-replied\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nSubject: BSMTP receipt "));
}

TEST_F(ReceiptMailTest, OfAnotherKeyPeerOrHostCountsForNobody) {
  const ReceiptFacts facts = facts_of({taken('a')});
  EXPECT_EQ(reason(mail_by(rings->stranger_key, facts)), Reject::kUnknownKey);
  EXPECT_EQ(reason(mail_by(rings->mars_key, facts)), Reject::kWrongSender);
  EXPECT_EQ(reason(mail_by(rings->hub_key, facts), "mars"), Reject::kUnknownKey);
  ReceiptFacts other = facts;
  other.to = "mars.domain.org";
  EXPECT_EQ(reason(mail_by(rings->hub_key, other)), Reject::kNotForMe);
  peers.erase(peers.begin());  // hub is off
  EXPECT_EQ(reason(mail_by(rings->hub_key, facts)), Reject::kUnknownKey);
}

TEST_F(ReceiptMailTest, ChangedOnItsWayIsABadSignature) {
  const std::string good = mail_by(rings->hub_key, facts_of({taken('a')}));
  std::string text = good;
  text.replace(text.find("id=a"), 4, "id=b");
  EXPECT_EQ(reason(text), Reject::kBadSignature);
  text = good;
  text.replace(text.find("s=accepted"), 10, "s=rejected");
  EXPECT_EQ(reason(text), Reject::kBadSignature);
  text = good;
  text.insert(text.find("-----BEGIN PGP") + 5, "x");
  EXPECT_EQ(reason(text), Reject::kBadSignature);
}

// The signed part is the first one, at the top, and nothing else is looked at.
TEST_F(ReceiptMailTest, WrappedInAnotherMultipartOrUnsignedIsNone) {
  const std::string good = mail_by(rings->hub_key, facts_of({taken('a')}));
  const std::string entity = good.substr(good.find("Content-Type: multipart/signed"));
  EXPECT_EQ(
      reason("Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" + entity + "\r\n--m--\r\n"),
      Reject::kNotAParcel);
  const std::string report = text_of(facts_of({taken('a')}));
  EXPECT_EQ(reason("From: x@y.z\r\n" + report), Reject::kNotAParcel);
  // A forged report in front of the signed one: two parts and a signature over the second.
  std::string forged = good;
  const std::size_t part = forged.find("Content-Type: multipart/report");
  const std::size_t delimiter = forged.rfind("--=_", part);
  forged.insert(part, report + "\r\n" + forged.substr(delimiter, part - delimiter));
  EXPECT_EQ(reason(forged), Reject::kMalformed);
}

TEST_F(ReceiptMailTest, IsNoParcelAndAParcelIsNoReceipt) {
  Collector collector;
  const auto result = try_open(mail_by(rings->hub_key, facts_of({taken('a')})), collector);
  ASSERT_TRUE(result.is_ok());
  EXPECT_EQ(std::get<Rejected>(*result).reason, Reject::kNotAParcel);
  EXPECT_EQ(reason(mail_of(build_entity(request(Profile::kNative)))), Reject::kNotAParcel);
}

TEST_F(ParcelTest, AVerdictThatThePeerMayBeToldOfCarriesItsManifest) {
  struct Case {
    const char* name;
    std::function<void(Manifest&)> change;
    Reject reason;
    bool told;
  };
  const std::vector<Case> cases = {
      {"expired",
       [](Manifest& m) {
         m.created -= std::chrono::hours(400), m.expires -= std::chrono::hours(400);
       },
       Reject::kExpired, true},
      {"for another host", [](Manifest& m) { m.to = "mars.domain.org"; }, Reject::kNotForMe, false},
      {"from another host", [](Manifest& m) { m.from = "mars.domain.org"; }, Reject::kWrongSender,
       false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    BuildRequest r = request(Profile::kNative);
    c.change(*r.manifest);
    BuildResult built;
    const std::string entity = build_entity(r, "", &built);
    Collector collector;
    const auto result = try_open(mail_of(entity), collector);
    ASSERT_TRUE(result.is_ok()) << result.status().to_string();
    const auto& rejected = std::get<Rejected>(*result);
    EXPECT_EQ(rejected.reason, c.reason);
    EXPECT_EQ(rejected.digest, built.digest);
    ASSERT_EQ(rejected.manifest.has_value(), c.told);
    if (c.told) {
      EXPECT_EQ(rejected.manifest->id, kId);
    }
  }
}

}  // namespace
}  // namespace bsmtp::parcel
