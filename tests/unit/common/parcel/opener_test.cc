#include "common/parcel/opener.h"

#include "common/base/text.h"
#include "common/codec/base64.h"
#include "common/codec/gzip.h"
#include "common/digest/sha256.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string gzip_base64(std::string_view plain) {
  StringSink out(1U << 26U);
  codec::Base64Sink base64(out);
  codec::GzipSink gzip(base64);
  EXPECT_TRUE(gzip.write(plain).is_ok() && gzip.finish().is_ok() && base64.finish().is_ok());
  return out.take();
}

class OpenerTest : public ParcelTest {
 protected:
  // A multipart/signed mail around any part, signed by gpg itself.
  std::string signed_mail(std::string_view part, const std::string& key = "",
                          const std::vector<std::string>& options = {"--textmode"}) {
    std::string signature = rings->hub.sign(key.empty() ? rings->hub_key : key, part, options);
    return multipart(part, crlf(signature));
  }
  static std::string crlf(std::string_view text) {
    std::string out;
    for (const char c : text) {
      out += c == '\n' ? "\r\n" : std::string(1, c);
    }
    return out;
  }
  static std::string multipart(std::string_view part, std::string_view signature) {
    return mail_of(
        str_cat({"Content-Type: multipart/signed; micalg=pgp-sha256;\r\n "
                 "protocol=\"application/pgp-signature\"; boundary=\"=_b\"\r\n\r\n--=_b\r\n",
                 part, "\r\n--=_b\r\nContent-Type: application/pgp-signature\r\n\r\n", signature,
                 "--=_b--\r\n"}));
  }
  std::string inner(std::string_view extra = "") const {
    return str_cat({"Content-Type: application/batch-SMTP\r\n", extra,
                    "\r\nEHLO hub.domain.com\r\nMAIL FROM:<a@domain.com>\r\n"
                    "RCPT TO:<b@domain.co.uk>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n"});
  }
  static std::string part_of(std::string_view inner_entity) {
    return "Content-Type: application/compressed-bsmtp\r\nContent-Transfer-Encoding: "
           "base64\r\n\r\n" +
           gzip_base64(inner_entity);
  }
  std::string manifest_line(const Manifest& m) const {
    return str_cat({kManifestField, ": ", format_manifest(m).value(), "\r\n"});
  }
};

TEST_F(OpenerTest, NativeParcelComesOutAsItWentIn) {
  BuildResult built;
  const std::string entity = build_entity(request(Profile::kNative), "", &built);
  const Opened opened = expect_opened(mail_of(entity));
  expect_same_messages();
  EXPECT_EQ(opened.peer, "hub");
  EXPECT_EQ(opened.fingerprint, rings->hub_key);
  EXPECT_EQ(opened.id, kId);
  EXPECT_EQ(opened.digest, built.digest);
  ASSERT_TRUE(opened.manifest.has_value());
  EXPECT_EQ(opened.manifest->from, "hub.domain.com");
  EXPECT_EQ(opened.expires, manifest().expires);
  EXPECT_EQ(opened.messages, 2U);
  EXPECT_EQ(opened.recipients, 3U);
  EXPECT_EQ(opened.plain_bytes, built.plain_bytes);
  EXPECT_TRUE(opened.compressed);
  EXPECT_EQ(opened.mic_check, "");
}

TEST_F(OpenerTest, ParcelTruncatedAtAnyOffsetExecutesNothing) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  std::size_t opened = 0;
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    Collector collector;
    const auto result = try_open(std::string_view(whole).substr(0, cut), collector);
    ASSERT_TRUE(result.is_ok()) << cut << " " << result.status().to_string();
    if (std::holds_alternative<Opened>(*result)) {
      ++opened;
      EXPECT_EQ(collector.messages.size(), 2U) << cut;
      EXPECT_GE(cut + 2, whole.size()) << "only the last CRLF may be missing";
    }
  }
  EXPECT_LE(opened, 2U);
}

TEST_F(OpenerTest, AnyTamperedOctetOfTheSignedPartIsRejected) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  const std::size_t begin = whole.find("Content-Type: application/compressed-bsmtp");
  const std::size_t end = whole.find("\r\n--=_", begin);
  ASSERT_NE(end, std::string::npos);
  const std::size_t body = whole.find("\r\n\r\n", begin) + 4;
  for (std::size_t at = begin; at < end; at += at < body ? 1 : 7) {
    for (const char change : {'\x01', '\x20'}) {
      std::string tampered = whole;
      tampered[at] = static_cast<char>(tampered[at] ^ change);
      Collector collector;
      const auto result = try_open(tampered, collector);
      ASSERT_TRUE(result.is_ok()) << at;
      EXPECT_TRUE(std::holds_alternative<Rejected>(*result)) << "octet " << at - begin;
      EXPECT_TRUE(collector.messages.empty());
    }
  }
}

TEST_F(OpenerTest, OctetsThatGpgDoesNotHashNeverPass) {
  // gpg's text mode ignores these at a line's end (text_guard.h).
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  const std::size_t eol = whole.find("\r\n", whole.find("\r\n\r\nH4sI") + 8);
  for (const std::string& extra : {std::string("\r"), std::string(1, '\0')}) {
    std::string tampered = whole;
    tampered.insert(eol, extra);
    expect_rejected(tampered, Reject::kMalformed);
  }
  std::string lf = whole;
  lf.erase(eol, 1);
  expect_rejected(lf, Reject::kMalformed, "a bare LF");
}

TEST_F(OpenerTest, SignedLineLongerThanGpgHashesIsRefused) {
  // Two parts that differ only behind column 19995 have the same gpg text-mode signature.
  const std::string head = "Content-Type: application/batch-SMTP\r\nX: ";
  const std::string signed_part =
      head + std::string(20000, 'a') + "\r\n\r\n" + inner().substr(inner().find("EHLO"));
  // gpg complains about the line, and signs.
  const auto made = rings->hub.gpg(
      {"--textmode", "--armor", "--local-user", rings->hub_key, "--detach-sign"}, signed_part);
  ASSERT_NE(made.out.find("BEGIN PGP SIGNATURE"), std::string::npos);
  expect_rejected(multipart(signed_part, crlf(made.out)), Reject::kMalformed);
}

TEST_F(OpenerTest, WrongKeysAreRejected) {
  const BuildRequest r = request(Profile::kNative);
  expect_rejected(mail_of(build_entity(r, rings->stranger_key)), Reject::kUnknownKey);
  const Rejected other = expect_rejected(mail_of(build_entity(r, rings->mars_key)),
                                         Reject::kWrongSender, "mars signs what says it is hub's");
  EXPECT_EQ(other.peer, "mars");
}

TEST_F(OpenerTest, PeerOfTheTransportMustBeTheSigner) {
  transport_peer = "mars";
  expect_rejected(mail_of(build_entity(request(Profile::kNative))), Reject::kUnknownKey);
  transport_peer = "hub";
  expect_opened(mail_of(build_entity(request(Profile::kNative))));
}

TEST_F(OpenerTest, KnownKeyOfAPeerWithoutPolicyIsRejected) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  expect_opened(whole);  // makes the verifier that knows both
  peers.erase(peers.begin());
  expect_rejected(whole, Reject::kUnknownKey);
}

TEST_F(OpenerTest, ManifestIsChecked) {
  struct Case {
    const char* name;
    std::function<void(Manifest&)> change;
    Reject reason;
  };
  using std::chrono::hours;
  const std::vector<Case> cases = {
      {"for another host", [](Manifest& m) { m.to = "venus.domain.net"; }, Reject::kNotForMe},
      {"from another host", [](Manifest& m) { m.from = "mars.domain.org"; }, Reject::kWrongSender},
      {"expired",
       [](Manifest& m) {
         m.created -= hours(48);
         m.expires = m.created + hours(47);
       },
       Reject::kExpired},
  };
  for (const Case& c : cases) {
    BuildRequest r = request(Profile::kNative);
    c.change(*r.manifest);
    const Rejected rejected = expect_rejected(mail_of(build_entity(r)), c.reason, c.name);
    EXPECT_EQ(rejected.peer, "hub") << c.name;
    EXPECT_EQ(rejected.id, kId) << c.name;
  }
}

TEST_F(OpenerTest, CreatedInTheFutureBeyondSkewIsTroubleNotAVerdict) {
  BuildRequest r = request(Profile::kNative);
  r.manifest->created += std::chrono::minutes(30);
  expect_opened(mail_of(build_entity(r)));  // within the hour of skew
  r.manifest->created += std::chrono::hours(2);
  Collector collector;
  const auto result = try_open(mail_of(build_entity(r)), collector);
  ASSERT_FALSE(result.is_ok());
  EXPECT_TRUE(result.status().is_temporary());
  EXPECT_TRUE(collector.messages.empty());
}

TEST_F(OpenerTest, NativePeerMustWriteExactlyOneManifest) {
  expect_rejected(signed_mail(part_of(inner())), Reject::kNoManifest);
  const std::string line = manifest_line(manifest());
  expect_opened(signed_mail(part_of(inner(line))), 1);
  expect_rejected(signed_mail(part_of(inner(line + line))), Reject::kMalformed);
  expect_rejected(signed_mail(part_of(inner("BSMTP-Parcel: v=2\r\n"))), Reject::kMalformed);
}

TEST_F(OpenerTest, ManifestOutsideTheSignedLayerDoesNotCount) {
  const std::string part = replaced(part_of(inner()), "Content-Transfer-Encoding",
                                    manifest_line(manifest()) + "Content-Transfer-Encoding");
  expect_rejected(signed_mail(part), Reject::kNoManifest, "on the gzip layer");
}

TEST_F(OpenerTest, SignatureWrappingIsRefused) {
  const std::string part = part_of(inner(manifest_line(manifest())));
  const std::string good = signed_mail(part);
  const std::string evil_part = part_of(replaced(inner(), "b@domain.co.uk", "e@domain.co.uk"));
  const std::string entity = good.substr(good.find("Content-Type: multipart/signed"));
  const struct {
    const char* name;
    std::string mail;
    Reject reason;
  } kCases[] = {
      {"the signed mail inside multipart/mixed",
       mail_of(str_cat({"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n", evil_part,
                        "\r\n--m\r\n", entity, "\r\n--m--\r\n"})),
       Reject::kUnsupported},
      {"an unsigned part in front",
       replaced(good, "--=_b\r\n", "--=_b\r\n" + evil_part + "\r\n--=_b\r\n"), Reject::kMalformed},
      {"an unsigned part behind",
       replaced(good, "--=_b--", "--=_b\r\n" + evil_part + "\r\n--=_b--"), Reject::kMalformed},
      {"two signature parts",
       replaced(good, "--=_b--",
                "--=_b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--=_b--"),
       Reject::kMalformed},
      {"signature part first",
       mail_of("Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; "
               "boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: application/pgp-signature\r\n\r\n"
               "x\r\n--=_b\r\n" +
               part + "\r\n--=_b--\r\n"),
       Reject::kNotAParcel},
      {"two Content-Type fields on top",
       replaced(good, "Content-Type: multipart/signed",
                "Content-Type: application/batch-SMTP\r\nContent-Type: multipart/signed"),
       Reject::kMalformed},
      {"two boundary parameters",
       replaced(good, "boundary=\"=_b\"", "boundary=\"=_b\"; boundary=\"=_c\""),
       Reject::kMalformed},
      {"another part with the good signature", replaced(good, part, evil_part),
       Reject::kBadSignature},
      {"signature part transfer-encoded",
       replaced(good, "application/pgp-signature\r\n\r\n",
                "application/pgp-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
       Reject::kMalformed},
      {"no signature in the signature part", multipart(part, "hello\r\n"), Reject::kBadSignature},
      {"S/MIME protocol",
       replaced(good, "protocol=\"application/pgp-signature\"",
                "protocol=\"application/pkcs7-signature\""),
       Reject::kUnsupported},
      {"signed text that is no batch", signed_mail("Content-Type: text/plain\r\n\r\nHi\r\n"),
       Reject::kNotAParcel},
      {"encrypted mail", mail_of("Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b--\r\n"),
       Reject::kUnsupported},
      {"ordinary mail", mail_of("Content-Type: text/plain\r\n\r\nBuy now\r\n"),
       Reject::kNotAParcel},
      {"ordinary multipart",
       mail_of("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nBuy\r\n--b--\r\n"),
       Reject::kNotAParcel},
      {"wrapped by a footer",
       mail_of("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" +
               good.substr(good.find("Content-Type: multipart/signed")) +
               "--b\r\n\r\nThis mail was scanned\r\n--b--\r\n"),
       Reject::kUnsupported},
      {"unsigned and wrapped",
       mail_of("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part +
               "\r\n--b\r\n\r\nThis mail was scanned\r\n--b--\r\n"),
       Reject::kUnsupported},
      {"nothing", "", Reject::kNotAParcel},
  };
  for (const auto& c : kCases) {
    expect_rejected(c.mail, c.reason, c.name);
  }
}

TEST_F(OpenerTest, PreambleAndEpilogueAreIgnored) {
  const std::string line = manifest_line(manifest());
  std::string mail_text = signed_mail(part_of(inner(line)));
  mail_text =
      replaced(mail_text, "\r\n\r\n--=_b\r\n", "\r\n\r\nEHLO x\r\nMAIL FROM:<e@x>\r\n--=_b\r\n");
  expect_opened(mail_text + "MAIL FROM:<e@x>\r\n", 1);
}

TEST_F(OpenerTest, InlineSignedBlobAsSignatureIsRefused) {
  const std::string part = part_of(inner(manifest_line(manifest())));
  const std::string blob =
      rings->hub.gpg({"--armor", "--local-user", rings->hub_key, "--sign"}, part).out;
  expect_rejected(multipart(part, crlf(blob)), Reject::kBadSignature);
}

TEST_F(OpenerTest, WeakDigestAndSecondSignerAreRefused) {
  const std::string part = part_of(inner(manifest_line(manifest())));
  expect_rejected(signed_mail(part, "", {"--textmode", "--digest-algo", "SHA1"}),
                  Reject::kWeakDigest);
  expect_rejected(signed_mail(part, "", {"--textmode", "--local-user", rings->mars_key}),
                  Reject::kUnknownKey, "signatures of two peers");
}

TEST_F(OpenerTest, OnlyOneGzipLayerAndOnlyABatchInIt) {
  const std::string line = manifest_line(manifest());
  expect_rejected(signed_mail(part_of(part_of(inner(line)))), Reject::kUnsupported, "gzip in gzip");
  expect_rejected(signed_mail(part_of("Content-Type: text/plain\r\n" + line + "\r\nx\r\n")),
                  Reject::kUnsupported);
  expect_rejected(signed_mail(part_of("EHLO hub.domain.com\r\nQUIT\r\n")), Reject::kMalformed,
                  "no header");
}

TEST_F(OpenerTest, UncompressedSignedBatchIsAccepted) {
  std::string batch = inner().substr(inner().find("EHLO"));
  StringSink encoded;
  codec::Base64Sink base64(encoded);
  ASSERT_TRUE(base64.write(batch).is_ok() && base64.finish().is_ok());
  const std::string part = "Content-Type: application/batch-SMTP\r\n" + manifest_line(manifest()) +
                           "Content-Transfer-Encoding: base64\r\n\r\n" + encoded.str();
  EXPECT_FALSE(expect_opened(signed_mail(part), 1).compressed);
}

TEST_F(OpenerTest, CapsEndInTooBig) {
  for (int i = 0; i < 30; ++i) {
    messages.push_back(
        message("a@domain.com", {"b@domain.co.uk", "c@domain.co.uk"},
                "Subject: x\r\n\r\n" + std::string(5000, 'x').insert(900, "\r\n") + "\r\n"));
  }
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  expect_opened(whole, 32);
  const Limits normal = limits;
  limits.parcel_bytes = whole.size() - 1;
  expect_rejected(whole, Reject::kTooBig, "parcel octets");
  limits = normal;
  limits.inflate.max_bytes = 100'000;
  expect_rejected(whole, Reject::kTooBig, "inflated octets");
  limits = normal;
  limits.inflate.free_bytes = 1000;
  limits.inflate.max_ratio = 2;
  expect_opened(whole, 32);  // a verified peer's mail may compress as well as it likes
  transport_peer = "hub";
  peers[0].require_signature = false;
  expect_rejected(mail_of(build_entity(request(Profile::kPmdfGzip))), Reject::kTooBig, "ratio");
  limits = normal;
  expect_opened(mail_of(build_entity(request(Profile::kPmdfGzip))), 32);
  transport_peer.clear();
  limits.signature_bytes = 100;
  expect_rejected(whole, Reject::kTooBig, "signature part");
  limits = normal;
  limits.messages = 31;
  EXPECT_NE(expect_rejected(whole, Reject::kMalformed, "messages").why.find("message"),
            std::string::npos);
  limits = normal;
  limits.recipients = 1;
  expect_rejected(whole, Reject::kMalformed, "recipients");
  limits = normal;
  limits.header_fields = 3;
  expect_rejected(whole, Reject::kMalformed, "header fields");
}

TEST_F(OpenerTest, FailingHandlerIsTroubleWhateverItsStatus) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  for (const Status& failure :
       {Status::temporary("4.3.1", "disk full"), Status::permanent("5.0.0", "no")}) {
    Collector collector;
    collector.fail_at_message = 2;
    collector.failure = failure;
    const auto result = try_open(whole, collector);
    ASSERT_FALSE(result.is_ok());
    EXPECT_TRUE(result.status().is_temporary());
  }
}

TEST_F(OpenerTest, UnsignedNeedsATransportPeerThatMayBeUnsigned) {
  const std::string whole = mail_of(build_entity(request(Profile::kRfc2442)));
  expect_rejected(whole, Reject::kUnsigned, "no transport peer");
  transport_peer = "hub";
  expect_rejected(whole, Reject::kUnsigned, "peer requires a signature");
  peers[0].require_signature = false;
  const Opened opened = expect_opened(whole);
  expect_same_messages();
  EXPECT_EQ(opened.peer, "hub");
  EXPECT_EQ(opened.fingerprint, "");
  EXPECT_FALSE(opened.manifest.has_value());
  EXPECT_TRUE(is_id(opened.id));
  EXPECT_EQ(opened.id, digest::sha256_hex(opened.digest).substr(0, kIdLength));
  EXPECT_EQ(expect_opened(whole).id, opened.id) << "the same parcel has the same id";
}

TEST_F(OpenerTest, UnsignedParcelTruncatedAtAnyOffsetExecutesNothing) {
  transport_peer = "hub";
  peers[0].require_signature = false;
  for (const Profile profile : {Profile::kRfc2442, Profile::kPmdfGzip}) {
    const std::string whole = mail_of(build_entity(request(profile)));
    for (std::size_t cut = 0; cut < whole.size(); ++cut) {
      Collector collector;
      const auto result = try_open(std::string_view(whole).substr(0, cut), collector);
      ASSERT_TRUE(result.is_ok()) << cut;
      if (std::holds_alternative<Opened>(*result)) {
        EXPECT_EQ(collector.messages.size(), 2U) << profile_name(profile) << " cut at " << cut;
      }
    }
  }
}

TEST_F(OpenerTest, AnnotatedPeerHearsAboutTheSignatureAsPmdfDoes) {
  std::string whole = mail_of(build_entity(request(Profile::kNative)));
  transport_peer = "hub";
  peers[0].require_signature = false;
  peers[0].annotate = true;
  EXPECT_NE(expect_opened(whole).mic_check.find(rings->hub_key), std::string::npos);
  const std::string tampered = replaced(whole, "Content-Type: application/compressed-bsmtp",
                                        "Content-type: application/compressed-bsmtp");
  EXPECT_EQ(expect_opened(tampered).mic_check, "Bad signature");
  peers[0].annotate = false;
  expect_rejected(tampered, Reject::kBadSignature);
}

TEST_F(OpenerTest, SignedParcelWithoutAVerifierIsTrouble) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  dir.write("mail", whole);
  const os::File in = file("mail", os::kReadOnly);
  OpenRequest r;
  r.ops = &os::real_file_ops();
  r.file = &in;
  r.peers = peers;
  Collector collector;
  EXPECT_TRUE(open(r, collector).status().is_temporary());
}

}  // namespace
}  // namespace bsmtp::parcel
