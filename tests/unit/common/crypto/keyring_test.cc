#include "common/crypto/keyring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "common/base/unique_fd.h"
#include "common/crypto/openpgp.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_keyring.h"

namespace bsmtp::crypto {
namespace {

using test::ShortTempDir;
using test::TestKeyring;

// A home that our own functions fill; its agent is ended like an admin would.
class Home {
 public:
  ~Home() { test::run_command({"gpgconf", "--homedir", path(), "--kill", "gpg-agent"}); }
  std::string path() const { return dir_.path() + "/sign"; }

 private:
  ShortTempDir dir_;
};

TEST(Keyring, GeneratedKeySignsAndIsSignOnly) {
  const Home home;
  GenerateOptions options;
  options.home = home.path();
  options.user_id = "BSMTP gateway <bsmtp@hub.domain.com>";
  const auto key = generate_key(options);
  ASSERT_TRUE(key.is_ok()) << key.status().to_string();
  EXPECT_EQ(key->fingerprint.size(), 40U);
  EXPECT_TRUE(key->usable);
  EXPECT_TRUE(key->secret);
  EXPECT_EQ(key->primary().algorithm, "ed25519");
  EXPECT_FALSE(key->primary().expires.has_value());
  ASSERT_EQ(key->user_ids.size(), 1U);
  EXPECT_EQ(key->user_ids[0], options.user_id);
  struct stat info {};
  ASSERT_EQ(::stat(home.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);

  auto signer = Signer::open({home.path(), key->fingerprint, ""});
  ASSERT_TRUE(signer.is_ok()) << signer.status().to_string();
  StringSource source("x\r\n");
  EXPECT_TRUE(signer->sign(source).is_ok());
}

TEST(Keyring, GeneratesRsaWithPassphraseAndExpiry) {
  const Home home;
  const ShortTempDir dir;
  GenerateOptions options;
  options.home = home.path();
  options.user_id = "PMDF MTA key <bsmtp@bsin.host0>";
  options.algorithm = "rsa3072";
  options.passphrase_file = dir.write("pass", "secret\n");
  options.valid_for = std::chrono::hours(24 * 30);
  const auto key = generate_key(options);
  ASSERT_TRUE(key.is_ok()) << key.status().to_string();
  EXPECT_EQ(key->primary().algorithm, "rsa3072");
  ASSERT_TRUE(key->primary().expires.has_value());
  auto signer = Signer::open({home.path(), key->fingerprint, options.passphrase_file});
  ASSERT_TRUE(signer.is_ok());
  StringSource source("x\r\n");
  const auto signature = signer->sign(source);
  EXPECT_TRUE(signature.is_ok()) << signature.status().to_string();
}

TEST(Keyring, GenerateRefusesWeakAlgorithmsAndNoUserId) {
  for (const char* algorithm : {"rsa1024", "dsa", "", "ed25519; x"}) {
    GenerateOptions options;
    options.home = "/tmp/never-made";
    options.user_id = "X <x@example.com>";
    options.algorithm = algorithm;
    EXPECT_TRUE(generate_key(options).status().is_temporary()) << algorithm;
  }
  GenerateOptions options;
  options.home = "/tmp/never-made";
  EXPECT_TRUE(generate_key(options).status().is_temporary());
  EXPECT_FALSE(std::filesystem::exists("/tmp/never-made"));
}

TEST(Keyring, GpgMakesNoLockFilesInAVerifyHome) {
  TestKeyring ring;
  const std::string key = ring.add_key("Hub <bsmtp@hub.domain.com>");
  const Home home;
  ASSERT_TRUE(import_key(home.path(), ring.export_public(key), key).is_ok());
  EXPECT_NE(test::slurp(home.path() + "/gpg.conf").find("\nlock-never\n"), std::string::npos);
  // What gpg would take for the lock of another, and wait for, stops nobody.
  test::spit(home.path() + "/pubring.kbx.lock", std::to_string(::getpid()));
  EXPECT_TRUE(Verifier::open(home.path(), {{"hub", {key}}}).is_ok());
}

TEST(Keyring, NoLockFileOfGpgStopsASignature) {
  const Home home;
  GenerateOptions options;
  options.home = home.path();
  options.user_id = "Hub <bsmtp@hub.domain.com>";
  const auto key = generate_key(options);
  ASSERT_TRUE(key.is_ok()) << key.status().text();
  // Of a process that lives: gpg would wait for it for ever.
  for (const char* name :
       {"/pubring.kbx.lock", "/trustdb.gpg.lock", "/gnupg_spawn_agent_sentinel.lock"}) {
    test::spit(home.path() + name, std::to_string(::getpid()) + "\n");
  }
  const auto sign = [&] {
    auto signer = Signer::open({home.path(), key->fingerprint, ""});
    ASSERT_TRUE(signer.is_ok()) << signer.status().text();
    StringSource text("Subject: 1\r\n\r\nhello\r\n");
    EXPECT_TRUE(signer->sign(text).is_ok());
  };
  std::thread beside(sign);
  sign();
  options.user_id = "Next <bsmtp@hub.domain.com>";
  EXPECT_TRUE(generate_key(options).is_ok()) << "while others sign";
  beside.join();
  EXPECT_EQ(list_keys(home.path(), true)->size(), 2U);
}

TEST(Keyring, NobodyReadsAHomeWhileAKeyIsImported) {
  TestKeyring ring;
  const std::string first = ring.add_key("Hub <bsmtp@hub.domain.com>");
  const std::string second = ring.add_key("Zeus <bsmtp@zeus.domain.net>");
  const Home home;
  ASSERT_TRUE(import_key(home.path(), ring.export_public(first), first).is_ok());
  const UniqueFd fd(::open(home.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(fd.get(), LOCK_SH), 0);
  std::thread importing(
      [&] { EXPECT_TRUE(import_key(home.path(), ring.export_public(second), second).is_ok()); });
  EXPECT_TRUE(Verifier::open(home.path(), {{"hub", {first}}}).is_ok()) << "readers do not wait";
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(list_keys(home.path(), false)->size(), 1U) << "the import waits for its readers";
  ASSERT_EQ(::flock(fd.get(), LOCK_UN), 0);
  importing.join();
  EXPECT_EQ(list_keys(home.path(), false)->size(), 2U);
}

TEST(Keyring, ExportInspectImportIntoAVerifyHome) {
  TestKeyring ring;
  const std::string key = ring.add_key("Hub <bsmtp@hub.domain.com>");
  const auto text = export_key(ring.home(), key);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_NE(text->find("BEGIN PGP PUBLIC KEY BLOCK"), std::string::npos);

  const auto seen = inspect_key(*text);
  ASSERT_TRUE(seen.is_ok()) << seen.status().to_string();
  ASSERT_EQ(seen->size(), 1U);
  EXPECT_EQ(seen->front().fingerprint, key);
  EXPECT_FALSE(seen->front().secret);

  const Home home;
  const std::string spoken = group_fingerprint(key);
  const auto imported = import_key(home.path(), *text, spoken);
  ASSERT_TRUE(imported.is_ok()) << imported.status().to_string();
  EXPECT_EQ(imported->fingerprint, key);
  EXPECT_TRUE(import_key(home.path(), *text, key).is_ok()) << "again is no error";
  EXPECT_EQ(list_keys(home.path(), false)->size(), 1U);
  EXPECT_TRUE(Verifier::open(home.path(), {{"hub", {key}}}).is_ok());
}

TEST(Keyring, ImportRefusesAnotherFingerprintSecretKeysAndSeveralKeys) {
  TestKeyring ring;
  const std::string key = ring.add_key("Hub <bsmtp@hub.domain.com>");
  const std::string other = ring.add_key("Other <x@example.com>");
  const Home home;
  const struct {
    const char* name;
    std::string text;
    std::string expected;
    bool permanent;
  } kCases[] = {
      {"another key than the one heard of", ring.export_public(other), key, true},
      {"a secret key", ring.export_secret(key), key, true},
      {"two keys at once", ring.export_public(key) + ring.export_public(other), key, true},
      {"no key", "hello", key, false},
      {"half a fingerprint", ring.export_public(key), key.substr(0, 16), false},
  };
  for (const auto& c : kCases) {
    const auto result = import_key(home.path(), c.text, c.expected);
    ASSERT_FALSE(result.is_ok()) << c.name;
    EXPECT_EQ(result.status().is_permanent(), c.permanent) << c.name;
  }
  EXPECT_FALSE(std::filesystem::exists(home.path() + "/pubring.kbx")) << "nothing was imported";
}

TEST(Keyring, ListsPublicOrSecretKeys) {
  TestKeyring ring;
  const std::string own = ring.add_key("Own <o@example.com>");
  TestKeyring elsewhere;
  const std::string peer = elsewhere.add_key("Peer <p@example.com>");
  ring.import(elsewhere.export_public(peer));
  EXPECT_EQ(list_keys(ring.home(), false)->size(), 2U);
  const auto secret = list_keys(ring.home(), true);
  ASSERT_TRUE(secret.is_ok());
  ASSERT_EQ(secret->size(), 1U);
  EXPECT_EQ(secret->front().fingerprint, own);
  EXPECT_EQ(list_keys(ring.home(), false, peer)->size(), 1U);
  EXPECT_EQ(list_keys(ring.home(), false, std::string(40, 'A'))->size(), 0U);
  EXPECT_TRUE(export_key(ring.home(), std::string(40, 'A')).status().is_temporary());
}

TEST(Fingerprint, NormalizesWhatPeopleType) {
  const std::string hex = "0123456789ABCDEF0123456789ABCDEF01234567";
  EXPECT_EQ(normalize_fingerprint(hex).value(), hex);
  EXPECT_EQ(normalize_fingerprint("0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567").value(),
            hex);
  EXPECT_EQ(group_fingerprint(hex), "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567");
  EXPECT_EQ(normalize_fingerprint(group_fingerprint(hex)).value(), hex);
  for (const char* bad : {"", "0123", "0123456789ABCDEF0123456789ABCDEF0123456G", "--"}) {
    EXPECT_TRUE(normalize_fingerprint(bad).status().is_temporary()) << bad;
  }
}

}  // namespace
}  // namespace bsmtp::crypto
