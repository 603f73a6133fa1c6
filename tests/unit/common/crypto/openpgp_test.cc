#include "common/crypto/openpgp.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "common/crypto/keyring.h"
#include "common/crypto/signature_packets.h"
#include "tests/support/test_keyring.h"

namespace bsmtp::crypto {
namespace {

using test::ShortTempDir;
using test::TestKeyring;

constexpr std::string_view kText = "Content-Type: text/plain\r\n\r\nabc\r\ndef\r\n";

Verdict verify(Verifier& verifier, std::string_view data, std::string_view signature) {
  StringSource source(data);
  auto verdict = verifier.verify(source, signature);
  EXPECT_TRUE(verdict.is_ok()) << verdict.status().to_string();
  return verdict.is_ok() ? *verdict : Verdict{};
}

// Two signers (hub and a stranger) and a verify home that knows hub as peer "remote1".
class OpenPgp : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    signer_ring = new TestKeyring;  // NOLINT: lives as long as the suite
    verify_ring = new TestKeyring;  // NOLINT
    hub = new std::string(signer_ring->add_key("Hub <bsmtp@hub.domain.com>"));          // NOLINT
    stranger = new std::string(signer_ring->add_key("Stranger <x@stranger.example>"));  // NOLINT
    verify_ring->import(signer_ring->export_public(*hub));
  }
  static void TearDownTestSuite() {
    delete signer_ring;  // NOLINT
    delete verify_ring;  // NOLINT
    delete hub;          // NOLINT
    delete stranger;     // NOLINT
  }
  static Signer signer() {
    auto made = Signer::open({signer_ring->home(), *hub, ""});
    EXPECT_TRUE(made.is_ok()) << made.status().to_string();
    return std::move(made).value();
  }
  static Verifier verifier(std::vector<PeerKeys> peers = {{"remote1", {*hub}}}) {
    auto made = Verifier::open(verify_ring->home(), peers);
    EXPECT_TRUE(made.is_ok()) << made.status().to_string();
    return std::move(made).value();
  }
  static std::string sign(std::string_view data) {
    StringSource source(data);
    auto signature = signer().sign(source);
    EXPECT_TRUE(signature.is_ok()) << signature.status().to_string();
    return signature.is_ok() ? *signature : "";
  }

  static TestKeyring* signer_ring;
  static TestKeyring* verify_ring;
  static std::string* hub;
  static std::string* stranger;
};
TestKeyring* OpenPgp::signer_ring = nullptr;
TestKeyring* OpenPgp::verify_ring = nullptr;
std::string* OpenPgp::hub = nullptr;
std::string* OpenPgp::stranger = nullptr;

TEST_F(OpenPgp, GoodSignatureNamesPeerPrimaryKeyTimeAndDigest) {
  Verifier v = verifier();
  const Verdict verdict = verify(v, kText, sign(kText));
  EXPECT_TRUE(verdict.good()) << verdict.why;
  EXPECT_EQ(verdict.peer, "remote1");
  EXPECT_EQ(verdict.fingerprint, *hub);
  EXPECT_EQ(verdict.hash, "SHA256");
  EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - verdict.signed_at),
            std::chrono::minutes(5));
}

TEST_F(OpenPgp, GpgItselfVerifiesOurSignatureInBothLineEndForms) {
  const ShortTempDir dir;
  const std::string signature = dir.write("sig", sign(kText));
  const std::string crlf = dir.write("crlf", kText);
  const std::string lf = dir.write("lf", "Content-Type: text/plain\n\nabc\ndef\n");
  EXPECT_EQ(verify_ring->gpg({"--verify", signature, crlf}).code, 0);
  EXPECT_EQ(verify_ring->gpg({"--verify", signature, lf}).code, 0);
  const std::string other = dir.write("other", "Content-Type: text/plain\n\nabc\ndeg\n");
  EXPECT_NE(verify_ring->gpg({"--verify", signature, other}).code, 0);
}

TEST_F(OpenPgp, EveryChangedOctetIsABadSignature) {
  const std::string signature = sign(kText);
  Verifier v = verifier();
  for (const std::size_t at : std::initializer_list<std::size_t>{0, 5, 28, 32, kText.size() - 3}) {
    std::string changed(kText);
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(verify(v, changed, signature).fault, SignatureFault::kBadSignature) << at;
  }
  EXPECT_EQ(verify(v, kText.substr(0, 10), signature).fault, SignatureFault::kBadSignature);
  EXPECT_EQ(verify(v, "", signature).fault, SignatureFault::kBadSignature);
}

TEST_F(OpenPgp, UnknownKeyIsAVerdictWhenAllPinsAreReadable) {
  Verifier v = verifier();
  const Verdict verdict = verify(v, kText, signer_ring->sign(*stranger, kText, {"--textmode"}));
  EXPECT_EQ(verdict.fault, SignatureFault::kUnknownKey) << verdict.why;
}

TEST_F(OpenPgp, KeyInTheRingButPinnedForNobodyIsRefused) {
  TestKeyring ring;
  ring.import(signer_ring->export_public(*hub));
  ring.import(signer_ring->export_public(*stranger));
  auto v = Verifier::open(ring.home(), {{"remote1", {*hub}}});
  ASSERT_TRUE(v.is_ok());
  const Verdict verdict = verify(*v, kText, signer_ring->sign(*stranger, kText, {"--textmode"}));
  EXPECT_EQ(verdict.fault, SignatureFault::kOtherKey) << verdict.why;
  EXPECT_EQ(verdict.peer, "");
}

TEST_F(OpenPgp, WeakDigestsAreRefusedWhateverGpgThinksOfThem) {
  Verifier v = verifier();
  for (const char* hash : {"SHA1", "RIPEMD160", "SHA224"}) {
    const std::string signature = signer_ring->sign(
        *hub, kText, {"--textmode", "--allow-weak-digest-algos", "--digest-algo", hash});
    const Verdict verdict = verify(v, kText, signature);
    EXPECT_EQ(verdict.fault, SignatureFault::kWeakDigest) << hash << ": " << verdict.why;
  }
  for (const char* hash : {"SHA256", "SHA384", "SHA512"}) {
    const std::string signature =
        signer_ring->sign(*hub, kText, {"--textmode", "--digest-algo", hash});
    EXPECT_TRUE(verify(v, kText, signature).good()) << hash;
  }
}

TEST_F(OpenPgp, Md5IsRefused) {
  TestKeyring ring;
  const std::string rsa = ring.add_key("Old <old@example.com>", "rsa2048");
  auto v = Verifier::open(ring.home(), {{"old", {rsa}}});
  ASSERT_TRUE(v.is_ok()) << v.status().to_string();
  // GnuPG 2.2 still makes them when asked loudly enough.
  const auto made = ring.gpg({"--textmode", "--allow-weak-digest-algos", "--digest-algo", "MD5",
                              "--armor", "--local-user", rsa, "--detach-sign"},
                             kText);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(verify(*v, kText, made.out).fault, SignatureFault::kWeakDigest);
}

TEST_F(OpenPgp, TwoSignaturesMustBothBeGoodAndOfOnePeer) {
  TestKeyring ring;
  ring.import(signer_ring->export_public(*hub));
  ring.import(signer_ring->export_public(*stranger));
  const auto both = signer_ring->gpg(
      {"--textmode", "--armor", "--local-user", *hub, "--local-user", *stranger, "--detach-sign"},
      kText);
  ASSERT_EQ(both.code, 0) << both.err;
  auto one_pinned = Verifier::open(ring.home(), {{"remote1", {*hub}}});
  ASSERT_TRUE(one_pinned.is_ok());
  EXPECT_EQ(verify(*one_pinned, kText, both.out).fault, SignatureFault::kOtherKey);
  auto two_peers = Verifier::open(ring.home(), {{"a", {*hub}}, {"b", {*stranger}}});
  ASSERT_TRUE(two_peers.is_ok());
  EXPECT_EQ(verify(*two_peers, kText, both.out).fault, SignatureFault::kOtherKey);
  auto rollover = Verifier::open(ring.home(), {{"a", {*hub, *stranger}}});
  ASSERT_TRUE(rollover.is_ok());
  EXPECT_TRUE(verify(*rollover, kText, both.out).good());
}

TEST_F(OpenPgp, WhatIsNoDetachedSignatureIsNoSignature) {
  Verifier v = verifier();
  const std::string data(kText);
  const std::string inline_signed =
      signer_ring->gpg({"--armor", "--local-user", *hub, "--sign"}, data).out;
  const std::string clear_signed =
      signer_ring->gpg({"--armor", "--local-user", *hub, "--clear-sign"}, data).out;
  std::string with_garbage = sign(kText) + "more\n";
  const struct {
    const char* name;
    std::string signature;
  } kCases[] = {
      {"nothing", ""},
      {"garbage", "garbage"},
      {"an inline-signed message with its own text", inline_signed},
      {"a clear-signed message", clear_signed},
      {"a public key", signer_ring->export_public(*hub)},
      {"text behind the signature", with_garbage},
      {"two armours", sign(kText) + sign(kText)},
      {"empty armour", "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"},
      {"half an armour", sign(kText).substr(0, 100)},
      {"bad base64", "-----BEGIN PGP SIGNATURE-----\n\n@@@@\n-----END PGP SIGNATURE-----\n"},
  };
  for (const auto& c : kCases) {
    const Verdict verdict = verify(v, kText, c.signature);
    EXPECT_EQ(verdict.fault, SignatureFault::kNoSignature) << c.name << ": " << verdict.why;
  }
}

TEST_F(OpenPgp, SigningSubkeyCountsAsItsPrimary) {
  TestKeyring ring;
  const std::string primary = ring.add_key("Sub <sub@example.com>");
  const std::string subkey = ring.add_subkey(primary);
  ASSERT_NE(primary, subkey);
  auto v = Verifier::open(ring.home(), {{"sub", {primary}}});
  ASSERT_TRUE(v.is_ok()) << v.status().to_string();
  const Verdict verdict = verify(*v, kText, ring.sign(subkey + "!", kText, {"--textmode"}));
  EXPECT_TRUE(verdict.good()) << verdict.why;
  EXPECT_EQ(verdict.fingerprint, primary);
  const auto pinned_subkey = Verifier::open(ring.home(), {{"sub", {subkey}}});
  EXPECT_TRUE(pinned_subkey.status().is_temporary());
  EXPECT_NE(pinned_subkey.status().text().find(primary), std::string::npos);
}

TEST_F(OpenPgp, ExpiredAndRevokedKeysAreVerdicts) {
  TestKeyring ring;
  const std::string expired =
      ring.add_key("Old <old@example.com>", "ed25519", "2021-01-01", "", "20200101T000000");
  const std::string signature =
      ring.sign(expired, kText, {"--textmode", "--faked-system-time", "20200601T000000"});
  auto v = Verifier::open(ring.home(), {{"old", {expired}}});
  ASSERT_TRUE(v.is_ok()) << v.status().to_string();
  EXPECT_EQ(verify(*v, kText, signature).fault, SignatureFault::kExpired);

  const std::string revoked = ring.add_key("Gone <gone@example.com>");
  const std::string gone = ring.sign(revoked, kText, {"--textmode"});
  ring.revoke_key(revoked);
  auto w = Verifier::open(ring.home(), {{"gone", {revoked}}});
  ASSERT_TRUE(w.is_ok()) << w.status().to_string();
  EXPECT_EQ(verify(*w, kText, gone).fault, SignatureFault::kRevoked);
}

TEST_F(OpenPgp, OwnExpiredOrMissingKeyIsTrouble) {
  TestKeyring ring;
  const std::string expired =
      ring.add_key("Old <old@example.com>", "ed25519", "2021-01-01", "", "20200101T000000");
  for (const std::string& fingerprint : {expired, std::string(40, 'A')}) {
    const auto opened = Signer::open({ring.home(), fingerprint, ""});
    ASSERT_TRUE(opened.status().is_temporary()) << fingerprint;
    EXPECT_EQ(opened.status().code(), "4.7.5");
    EXPECT_NE(opened.status().text().find(fingerprint), std::string::npos);
  }
}

TEST_F(OpenPgp, PassphraseComesFromTheFileAndAWrongOneIsAClearError) {
  TestKeyring ring;
  const std::string key = ring.add_key("Pass <p@example.com>", "ed25519", "never", "right");
  const ShortTempDir dir;
  // Wrong first: a right one would be cached by the agent.
  auto wrong = Signer::open({ring.home(), key, dir.write("wrong", "wrong\n")});
  ASSERT_TRUE(wrong.is_ok()) << wrong.status().to_string();
  StringSource source(kText);
  const auto bad = wrong->sign(source);
  ASSERT_TRUE(bad.status().is_temporary());
  EXPECT_NE(bad.status().text().find(dir.path() + "/wrong"), std::string::npos)
      << bad.status().text();
  auto none = Signer::open({ring.home(), key, ""});
  ASSERT_TRUE(none.is_ok());
  StringSource first(kText);
  const auto refused = none->sign(first);
  ASSERT_TRUE(refused.status().is_temporary());
  EXPECT_NE(refused.status().text().find("sign-passphrase-file"), std::string::npos);

  auto missing = Signer::open({ring.home(), key, dir.path() + "/none"});
  ASSERT_TRUE(missing.is_ok());
  StringSource second(kText);
  EXPECT_NE(missing->sign(second).status().text().find("/none"), std::string::npos);

  auto right = Signer::open({ring.home(), key, dir.write("right", "right\n")});
  ASSERT_TRUE(right.is_ok());
  StringSource third(kText);
  const auto good = right->sign(third);
  EXPECT_TRUE(good.is_ok()) << good.status().to_string();
}

TEST_F(OpenPgp, SignerRefusesAHomeWhoseGpgConfMakesAnotherDigest) {
  TestKeyring ring;
  const std::string key = ring.add_key("D <d@example.com>");
  std::filesystem::remove(ring.home() + "/gpg.conf");
  const ShortTempDir dir;
  {
    std::string name = ring.home() + "/gpg.conf";
    FILE* file = std::fopen(name.c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fputs("digest-algo SHA512\n", file);
    std::fclose(file);
  }
  auto signer = Signer::open({ring.home(), key, ""});
  ASSERT_TRUE(signer.is_ok());
  StringSource source(kText);
  const auto signature = signer->sign(source);
  ASSERT_TRUE(signature.status().is_temporary());
  EXPECT_NE(signature.status().text().find("digest-algo SHA256"), std::string::npos);
}

TEST_F(OpenPgp, PinThatCannotBeLoadedIsTroubleAndNamesThePeer) {
  const auto missing =
      Verifier::open(verify_ring->home(), {{"remote1", {*hub}}, {"remote2", {*stranger}}});
  ASSERT_TRUE(missing.status().is_temporary());
  EXPECT_NE(missing.status().text().find("remote2"), std::string::npos);
  EXPECT_NE(missing.status().text().find(*stranger), std::string::npos);
  EXPECT_TRUE(Verifier::open(verify_ring->home(), {{"r", {"12"}}}).status().is_temporary());
}

TEST_F(OpenPgp, OneKeyUnderTwoPeersIsAnError) {
  const auto both = Verifier::open(verify_ring->home(), {{"a", {*hub}}, {"b", {*hub}}});
  ASSERT_TRUE(both.status().is_temporary());
  EXPECT_EQ(both.status().code(), "4.3.5");
}

TEST_F(OpenPgp, KeyRingThatVanishesIsTroubleAndNotAnUnknownKey) {
  TestKeyring ring;
  ring.import(signer_ring->export_public(*hub));
  auto v = Verifier::open(ring.home(), {{"remote1", {*hub}}});
  ASSERT_TRUE(v.is_ok());
  std::filesystem::remove(ring.home() + "/pubring.kbx");
  StringSource source(kText);
  const auto verdict = v->verify(source, sign(kText));
  ASSERT_FALSE(verdict.is_ok());
  EXPECT_TRUE(verdict.status().is_temporary());
}

TEST_F(OpenPgp, FailingSourceIsPassedOn) {
  class Broken final : public Source {
    Result<std::size_t> read(std::span<char> /*out*/) override {
      return Status::temporary("4.3.0", "the disk is gone");
    }
  } broken;
  Verifier v = verifier();
  EXPECT_EQ(v.verify(broken, sign(kText)).status().text(), "the disk is gone");
  EXPECT_EQ(signer().sign(broken).status().text(), "the disk is gone");
}

TEST_F(OpenPgp, VerifierStartsNoAgentAndWorksOnAReadOnlyPublicHome) {
  TestKeyring ring;
  ring.import(signer_ring->export_public(*hub));
  test::run_command({"gpgconf", "--homedir", ring.home(), "--kill", "gpg-agent"});
  for (const char* name : {"/gpg.conf", "/gpg-agent.conf", "/trustdb.gpg", "/private-keys-v1.d",
                           "/pubring.kbx~", "/S.gpg-agent"}) {
    std::filesystem::remove_all(ring.home() + name);
  }
  ::chmod(ring.home().c_str(), 0500);
  auto v = Verifier::open(ring.home(), {{"remote1", {*hub}}});
  ASSERT_TRUE(v.is_ok()) << v.status().to_string();
  EXPECT_TRUE(verify(*v, kText, sign(kText)).good());
  EXPECT_FALSE(std::filesystem::exists(ring.home() + "/S.gpg-agent"));
  ::chmod(ring.home().c_str(), 0700);
}

TEST(CheckHome, NamesWhatIsWrong) {
  const ShortTempDir dir;
  EXPECT_TRUE(check_home(dir.path()).is_ok());
  const std::string file = dir.write("file", "");
  const struct {
    const char* name;
    std::string home;
    const char* says;
  } kCases[] = {
      {"relative", "keys", "absolute"},
      {"empty", "", "absolute"},
      {"missing", dir.path() + "/none", "/none"},
      {"a file", file, "no directory"},
      {"too long", "/" + std::string(kMaxHomePath, 'x'), "shorter"},
  };
  for (const auto& c : kCases) {
    const Status status = check_home(c.home);
    EXPECT_TRUE(status.is_temporary()) << c.name;
    EXPECT_NE(status.text().find(c.says), std::string::npos) << c.name << ": " << status.text();
  }
}

TEST(CheckHome, TheLongestAllowedHomeCanHoldTheAgentsSockets) {
  EXPECT_LT(kMaxHomePath + std::string_view("/S.gpg-agent.browser").size(),
            sizeof(sockaddr_un{}.sun_path));
}

}  // namespace
}  // namespace bsmtp::crypto
