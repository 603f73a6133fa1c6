#include "common/parcel/builder.h"

#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

// Takes a parcel apart with nothing of ours: argv[1] = mail, argv[2] = directory for the pieces.
constexpr std::string_view kPython = R"(
import email, email.policy, gzip, sys
raw = open(sys.argv[1], 'rb').read()
msg = email.message_from_bytes(raw, policy=email.policy.compat32)
assert msg.get_content_type() == 'multipart/signed', msg.get_content_type()
assert msg.get_param('micalg') == 'pgp-sha256'
assert msg.get_param('protocol') == 'application/pgp-signature'
assert msg['Auto-Submitted'] == 'auto-generated'
part, sig = msg.get_payload()
assert part.get_content_type() == 'application/compressed-bsmtp'
assert sig.get_content_type() == 'application/pgp-signature'
b = ('--' + msg.get_boundary()).encode()
body = raw.split(b'\r\n' + b)
open(sys.argv[2] + '/part', 'wb').write(raw[raw.index(b + b'\r\n') + len(b) + 2:raw.index(b'\r\n' + b, raw.index(b + b'\r\n') + 5)])
open(sys.argv[2] + '/sig', 'wb').write(sig.get_payload(decode=True))
inner = gzip.decompress(part.get_payload(decode=True))
e = email.message_from_bytes(inner, policy=email.policy.compat32)
assert e.get_content_type() == 'application/batch-smtp'
assert e.get_param('required-extensions') == '8bitMIME,SIZE,NOTARY', e['Content-Type']
assert e['BSMTP-Parcel'].startswith('v=1; id=')
sys.stdout.buffer.write(inner.split(b'\r\n\r\n', 1)[1])
)";

class BuilderTest : public ParcelTest {
 protected:
  static std::string outer(const std::string& entity) {
    OuterHeaders h;
    h.from = "bsmtp@hub.domain.com";
    h.to = "bsmtp@athena.domain.co.uk";
    h.parcel_id = kId;
    h.message_id = "<" + std::string(kId) + ".1@hub.domain.com>";
    h.date = std::chrono::system_clock::now();
    const auto headers = outer_headers(h);
    EXPECT_TRUE(headers.is_ok()) << headers.status().to_string();
    return *headers + entity;
  }
};

TEST_F(BuilderTest, PythonGzipAndGpgTakeANativeParcelApart) {
  BuildResult built;
  dir.write("mail", outer(build_entity(request(Profile::kNative), "", &built)));
  const auto python = test::run_command(
      {"/usr/bin/python3", "-c", std::string(kPython), dir.path() + "/mail", dir.path()});
  ASSERT_EQ(python.code, 0) << python.err;
  EXPECT_EQ(python.out, "EHLO hub.domain.com\r\n" + item_text(messages[0]) +
                            item_text(messages[1]) + "QUIT\r\n");
  EXPECT_EQ(built.plain_bytes, python.out.size());
  const auto gpg = rings->verify.gpg({"--verify", dir.path() + "/sig", dir.path() + "/part"});
  EXPECT_EQ(gpg.code, 0) << gpg.err;
  const auto part = os::read_file(os::real_file_ops(), dir.path() + "/part", 1U << 20U);
  EXPECT_EQ(digest::sha256_hex(*part), built.digest);
}

TEST_F(BuilderTest, ParcelIsPureAsciiOfShortLinesThatNoMtaTouches) {
  const std::string mail_text = outer(build_entity(request(Profile::kNative)));
  for (const std::string_view line : split(mail_text, '\n')) {
    if (line.empty()) {
      continue;
    }
    ASSERT_EQ(line.back(), '\r') << line;
    const std::string_view text = line.substr(0, line.size() - 1);
    EXPECT_LE(text.size(), 78U) << text;
    EXPECT_TRUE(text.empty() || (text.back() != ' ' && text.back() != '\t')) << text;
    EXPECT_FALSE(text.starts_with("From ")) << text;
    for (const char c : text) {
      EXPECT_TRUE(c >= 0x20 && c < 0x7F) << text;
    }
  }
}

TEST_F(BuilderTest, SameRequestGivesTheSameSignedOctets) {
  BuildResult first;
  BuildResult second;
  build_entity(request(Profile::kNative), "", &first);
  build_entity(request(Profile::kNative), "", &second);
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_EQ(first.messages, 2U);
}

TEST_F(BuilderTest, BadItemIsNamedAndNothingIsWritten) {
  BuildRequest r = request(Profile::kNative);
  auto s = signer(rings->hub_key);
  r.signer = &s;
  const std::string good = item_text(messages[0]);
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"empty", ""},
      {"cut in its text", good.substr(0, good.size() - 4)},
      {"two transactions", good + good},
      {"smuggled end", "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nx\n.\nMAIL\r\n.\r\n"},
      {"a parameter nobody agreed on",
       "MAIL FROM:<a@b.c> FOO=1\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\n"},
      {"SMTPUTF8 not agreed", "MAIL FROM:<a@b.c> SMTPUTF8\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\n"},
  };
  for (const auto& c : kCases) {
    r.items = items_of(messages);
    r.items.push_back(string_item("the-bad-one", c.text));
    os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
    std::size_t bad = 99;
    const auto built = build(r, os::real_file_ops(), out, &bad);
    ASSERT_TRUE(built.status().is_permanent()) << c.name;
    EXPECT_EQ(bad, 2U) << c.name;
    EXPECT_NE(built.status().text().find("the-bad-one"), std::string::npos) << c.name;
    EXPECT_EQ(os::real_file_ops().stat(out)->size, 0U) << c.name;
  }
}

TEST_F(BuilderTest, AgreedSmtputf8IsListedAsRequired) {
  BuildRequest r = request(Profile::kNative);
  r.items.push_back(string_item(
      "utf8", "MAIL FROM:<j\xC3\xBC@b.c> SMTPUTF8\r\nRCPT TO:<d@e.f>\r\nDATA\r\nx\r\n.\r\n"));
  r.agreement.smtputf8 = true;
  const std::string whole = mail_of(build_entity(r));
  expect_rejected(whole, Reject::kUnsupported, "the receiver did not agree");
  peers[0].agreement.smtputf8 = true;
  expect_opened(whole, 3);
  EXPECT_EQ(delivered[2].envelope.sender, "j\xC3\xBC@b.c");
}

TEST_F(BuilderTest, ItemThatCannotBeReadIsTrouble) {
  BuildRequest r = request(Profile::kNative);
  auto s = signer(rings->hub_key);
  r.signer = &s;
  r.items = file_items(os::real_file_ops(), {dir.path() + "/none"});
  os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
  const auto built = build(r, os::real_file_ops(), out);
  EXPECT_TRUE(built.status().is_temporary());
  EXPECT_NE(built.status().text().find("/none"), std::string::npos);
}

TEST_F(BuilderTest, FilesAreItems) {
  BuildRequest r = request(Profile::kNative);
  r.items = file_items(os::real_file_ops(), {dir.write("a", item_text(messages[0])),
                                             dir.write("b", item_text(messages[1]))});
  expect_opened(mail_of(build_entity(r)));
  expect_same_messages();
}

TEST_F(BuilderTest, ManifestWithBadHostIsTroubleNotACrash) {
  BuildRequest r = request(Profile::kNative);
  auto s = signer(rings->hub_key);
  r.signer = &s;
  r.manifest->to = "Athena.Domain.co.uk";
  os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
  EXPECT_TRUE(build(r, os::real_file_ops(), out).status().is_temporary());
}

TEST_F(BuilderTest, LongLinesAndEveryOctetSurvive) {
  std::string text = "Subject: x\r\n\r\n";
  for (int i = 1; i < 256; ++i) {
    if (i != '\r' && i != '\n') {
      text += static_cast<char>(i);
    }
  }
  text += "\r\n" + std::string(40'000, 'L') + "\r\n.\r\n..\r\n.x\r\n\r\n";
  messages = {message("a@domain.com", {"b@domain.co.uk"}, text)};
  for (const Profile profile : {Profile::kNative, Profile::kPmdfSigned}) {
    peers[0].profile = profile;
    expect_opened(mail_of(build_entity(request(profile))), 1);
    expect_same_messages();
  }
}

TEST(OuterHeaders, RefusesWhatCannotStandInAHeader) {
  OuterHeaders good;
  good.from = "bsmtp@hub.domain.com";
  good.to = "bsmtp@athena.domain.co.uk";
  good.parcel_id = kId;
  good.message_id = "<x@hub.domain.com>";
  ASSERT_TRUE(outer_headers(good).is_ok());
  for (const char* bad : {"", "x", "a@b\r\nBcc: x@y", "a b@c", "a@b>"}) {
    OuterHeaders h = good;
    h.to = bad;
    EXPECT_TRUE(outer_headers(h).status().is_temporary()) << bad;
    h = good;
    h.message_id = bad;
    EXPECT_TRUE(outer_headers(h).status().is_temporary()) << bad;
  }
}

}  // namespace
}  // namespace bsmtp::parcel
