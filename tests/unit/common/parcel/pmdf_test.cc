// Parcels as PMDF's documents show them, both ways; the other side is plain gpg and gzip in the
// scripts of docs/examples/pmdf.
#include <fstream>
#include <iterator>

#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

constexpr std::string_view kScripts = BSMTP_SOURCE_DIR "/docs/examples/pmdf/";

// A batch file as a PMDF host writes it: LF lines.
constexpr std::string_view kPmdfFile =
    "Content-type: application/batch-smtp\n"
    "\n"
    "EHLO hub.domain.com\n"
    "MAIL FROM:<ann@domain.com>\n"
    "RCPT TO:<@hub.domain.com:bob@domain.co.uk>\n"
    "DATA\n"
    "Subject: hi\n"
    "\n"
    "..dot\n"
    ".\n"
    "RSET\n"
    "MAIL FROM:<>\n"
    "RCPT TO:<carl@domain.co.uk>\n"
    "DATA\n"
    "Subject: ho\n"
    "\n"
    ".\n"
    "QUIT\n";

std::string crlf(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c == '\n' ? "\r\n" : std::string(1, c);
  }
  return out;
}

std::string lf(std::string text) {
  std::erase(text, '\r');
  return text;
}

class PmdfTest : public ParcelTest {
 protected:
  PmdfTest() { peers[0].profile = Profile::kPmdfSigned; }

  // The multipart that PGP_SIGN glues together: unquoted parameters, the file's last line end
  // serves as the delimiter's. `file` is what lies on the PMDF host.
  std::string pmdf_signed(std::string_view file, std::string_view signature) const {
    return mail_of(
        crlf(str_cat({"Content-type: multipart/signed; boundary=01HXYZ.1;\n"
                      " micalg=pgp-md5; protocol=application/pgp-signature\n\n"
                      "--01HXYZ.1\n",
                      file, "--01HXYZ.1\nContent-type: application/pgp-signature\n\n", signature,
                      "--01HXYZ.1--\n"})));
  }
  std::string slurp(const std::string& name) const {
    std::ifstream in(dir.path() + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  test::CommandResult script(const std::string& name, const std::vector<std::string>& env,
                             const std::vector<std::string>& args) const {
    std::vector<std::string> argv = {"env"};
    argv.insert(argv.end(), env.begin(), env.end());
    argv.push_back("sh");
    argv.push_back(std::string(kScripts) + name);
    argv.insert(argv.end(), args.begin(), args.end());
    return test::run_command(argv);
  }
  std::string path(const std::string& name) const { return dir.path() + "/" + name; }
  std::vector<std::string> signer_env(const char* compress) const {
    return {"GNUPGHOME=" + rings->hub.home(), "BSMTP_SIGN_KEY=" + rings->hub_key,
            std::string("BSMTP_COMPRESS=") + compress};
  }
  std::vector<std::string> verifier_env(const std::string& keys, const char* decompress) const {
    return {"GNUPGHOME=" + rings->verify.home(), "BSMTP_PEER_KEYS=" + keys,
            std::string("BSMTP_DECOMPRESS=") + decompress};
  }
};

TEST_F(PmdfTest, BinarySignatureOverTheLfFileWithItsLastLineEnd) {
  const std::string mail_text = pmdf_signed(kPmdfFile, rings->hub.sign(rings->hub_key, kPmdfFile));
  const Opened opened = expect_opened(mail_text);
  EXPECT_EQ(delivered[0].envelope.recipients[0].address, "bob@domain.co.uk") << "route stripped";
  EXPECT_EQ(delivered[0].text, "Subject: hi\r\n\r\n.dot\r\n");
  EXPECT_EQ(opened.digest, digest::sha256_hex(kPmdfFile)) << "the octets that verified";
  EXPECT_TRUE(is_id(opened.id));
  EXPECT_EQ(opened.expires, *opened.signed_at + std::chrono::hours(24 * 30));
}

TEST_F(PmdfTest, EveryCandidateFormIsUnderstoodFromAPmdfPeerOnly) {
  const std::string no_eol(kPmdfFile.substr(0, kPmdfFile.size() - 1));
  const struct {
    const char* name;
    std::string signed_octets;
    std::vector<std::string> options;
    bool native_too;
  } kCases[] = {
      {"CRLF without the last line end, the standard's form", crlf(no_eol), {}, true},
      {"text mode over the same", no_eol, {"--textmode"}, true},
      {"CRLF with the last line end", crlf(kPmdfFile), {}, false},
      {"LF with the last line end", std::string(kPmdfFile), {}, false},
      {"LF without the last line end", no_eol, {}, false},
      {"text mode with the last line end", std::string(kPmdfFile), {"--textmode"}, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const std::string mail_text =
        pmdf_signed(kPmdfFile, rings->hub.sign(rings->hub_key, c.signed_octets, c.options));
    peers[0].profile = Profile::kPmdfSigned;
    expect_opened(mail_text);
    peers[0].profile = Profile::kNative;
    expect_rejected(mail_text, c.native_too ? Reject::kNoManifest : Reject::kBadSignature);
  }
}

TEST_F(PmdfTest, TamperedFormsAreStillRejected) {
  std::string file(kPmdfFile);
  const std::string signature = rings->hub.sign(rings->hub_key, file);
  file.replace(file.find("carl"), 4, "evil");
  expect_rejected(pmdf_signed(file, signature), Reject::kBadSignature);
  expect_rejected(pmdf_signed(std::string(kPmdfFile) + "\n\n", signature), Reject::kBadSignature,
                  "more line ends than the delimiter's own");
}

TEST_F(PmdfTest, DocumentsMd5SignatureIsRefusedAsWeak) {
  const std::string signature =
      rings->hub.sign(rings->hub_key, kPmdfFile, {"--digest-algo", "SHA1"});
  expect_rejected(pmdf_signed(kPmdfFile, signature), Reject::kWeakDigest);
}

TEST_F(PmdfTest, SignatureTimeStandsInForTheManifest) {
  const std::string mail_text = pmdf_signed(kPmdfFile, rings->hub.sign(rings->hub_key, kPmdfFile));
  const Opened opened = expect_opened(mail_text);
  EXPECT_EQ(expect_opened(mail_text).id, opened.id) << "the same parcel has the same id";
  clock.time += std::chrono::hours(24 * 31);
  expect_rejected(mail_text, Reject::kExpired);
  clock.time -= std::chrono::hours(24 * 62);
  Collector collector;
  const auto result = try_open(mail_text, collector);
  ASSERT_FALSE(result.is_ok());
  EXPECT_TRUE(result.status().is_temporary()) << "signed in the future";
}

TEST_F(PmdfTest, LfInsideGzipIsUnderstoodAndMixedLineEndsAreNot) {
  transport_peer = "hub";
  peers[0].require_signature = false;
  std::string mixed(kPmdfFile);
  mixed.replace(mixed.find("RSET\n"), 5, "RSET\r\n");
  dir.write("in", kPmdfFile);
  dir.write("mixed", mixed);
  ASSERT_EQ(script("bsmtp_gzip.sh", {}, {"compress", path("in"), path("out")}).code, 0);
  expect_opened(mail_of(crlf(slurp("out"))));
  EXPECT_EQ(delivered[1].text, "Subject: ho\r\n\r\n");
  ASSERT_EQ(script("bsmtp_gzip.sh", {}, {"compress", path("mixed"), path("out")}).code, 0);
  expect_rejected(mail_of(crlf(slurp("out"))), Reject::kMalformed);
}

TEST_F(PmdfTest, GzipProfileIsReadByTheScript) {
  const std::string entity = build_entity(request(Profile::kPmdfGzip));
  dir.write("in", lf(mail_of(entity)));
  const auto result = script("bsmtp_gzip.sh", {}, {"decompress", path("in"), path("out")});
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string plain = slurp("out");
  EXPECT_EQ(plain.find("Content-Type: application/batch-SMTP\n"), 0U);
  EXPECT_EQ(plain.find('\r'), std::string::npos);
  EXPECT_NE(plain.find("\n..dot\nhello\n.\nMAIL FROM:<>\n"), std::string::npos) << plain;
  EXPECT_EQ(plain.find("BSMTP-Parcel"), std::string::npos);
}

TEST_F(PmdfTest, SignedProfileIsVerifiedByTheScript) {
  dir.write("in", lf(mail_of(build_entity(request(Profile::kPmdfSigned)))));
  const auto good =
      script("pgp_verify.sh", verifier_env(rings->hub_key, "1"), {path("in"), path("out")});
  ASSERT_EQ(good.code, 0) << good.err;
  const std::string plain = slurp("out");
  EXPECT_EQ(plain.find("X-Content-MIC-check: Good signature from key " + rings->hub_key + "\n"),
            0U);
  EXPECT_NE(plain.find("\nMAIL FROM:<ann@domain.com>"), std::string::npos);

  BuildRequest plain_request = request(Profile::kPmdfSigned);
  plain_request.compress = false;
  dir.write("in", lf(mail_of(build_entity(plain_request))));
  EXPECT_EQ(
      script("pgp_verify.sh", verifier_env(rings->hub_key, "0"), {path("in"), path("out")}).code,
      0);
}

TEST_F(PmdfTest, VerifyScriptRefuses) {
  const std::string good = lf(mail_of(build_entity(request(Profile::kPmdfSigned))));
  std::string tampered = good;
  tampered[tampered.find("H4sI") + 30] ^= 1;
  std::string third = good;
  const std::string delimiter = good.substr(good.find("\n--=_") + 1, 28);
  third.insert(third.rfind(delimiter), delimiter + "\nContent-Type: text/plain\n\nx\n");
  const struct {
    const char* name;
    std::string text;
    std::string keys;
  } kCases[] = {
      {"a tampered parcel", tampered, rings->hub_key},
      {"another key", good, rings->mars_key},
      {"a truncated parcel", good.substr(0, good.size() / 2), rings->hub_key},
      {"a third part", third, rings->hub_key},
      {"no parcel", "Subject: x\n\nhello\n", rings->hub_key},
  };
  for (const auto& c : kCases) {
    dir.write("in", c.text);
    const auto result =
        script("pgp_verify.sh", verifier_env(c.keys, "1"), {path("in"), path("refused")});
    EXPECT_EQ(result.code, 1) << c.name;
    EXPECT_NE(result.err, "") << c.name;
    EXPECT_EQ(slurp("refused"), "") << c.name;
  }
}

TEST_F(PmdfTest, WeOpenWhatTheSignScriptMakes) {
  dir.write("in", kPmdfFile);
  for (const char* compress : {"0", "1"}) {
    const auto result = script("pgp_sign.sh", signer_env(compress), {path("in"), path("out")});
    ASSERT_EQ(result.code, 0) << result.err;
    const Opened opened = expect_opened(mail_of(crlf(slurp("out"))));
    EXPECT_EQ(opened.compressed, *compress == '1');
    EXPECT_EQ(delivered[0].text, "Subject: hi\r\n\r\n.dot\r\n");
  }
}

TEST_F(PmdfTest, ScriptsLeaveNothingBehindAndFailWithoutAKey) {
  dir.write("in", kPmdfFile);
  const auto result = script(
      "pgp_sign.sh",
      {"GNUPGHOME=" + rings->hub.home(), "BSMTP_SIGN_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
      {path("in"), path("none")});
  EXPECT_NE(result.code, 0);
  EXPECT_EQ(test::run_command({"ls", dir.path()}).out, "in\n");
}

}  // namespace
}  // namespace bsmtp::parcel
