#include "tests/support/test_keyring.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/check.h"

extern char** environ;  // NOLINT: POSIX's name

namespace bsmtp::test {
namespace {

// Any file serves: the child's output is small or the reader is patient.
std::string read_all(int fd) {
  std::string all;
  std::array<char, 65536> block{};
  ssize_t got = 0;
  BSMTP_CHECK(::lseek(fd, 0, SEEK_SET) == 0);
  while ((got = ::read(fd, block.data(), block.size())) > 0) {
    all.append(block.data(), static_cast<std::size_t>(got));
  }
  return all;
}

int temp_file() {
  std::string name = "/tmp/bsmtp-test.XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  BSMTP_CHECK(fd >= 0);
  ::unlink(name.c_str());
  return fd;
}

// The fingerprint of the last "fpr" record of a --with-colons listing.
std::string last_fingerprint(const std::string& listing) {
  const std::size_t at = listing.rfind("fpr:::::::::");
  BSMTP_CHECK(at != std::string::npos);
  const std::size_t begin = at + 12;
  return listing.substr(begin, listing.find(':', begin) - begin);
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& argv, std::string_view input) {
  std::vector<char*> args;
  args.reserve(argv.size() + 1);
  for (const std::string& arg : argv) {
    args.push_back(const_cast<char*>(arg.c_str()));  // NOLINT: execvp's signature
  }
  args.push_back(nullptr);
  const int in = temp_file();
  const int out = temp_file();
  const int err = temp_file();
  BSMTP_CHECK(::write(in, input.data(), input.size()) == static_cast<ssize_t>(input.size()));
  BSMTP_CHECK(::lseek(in, 0, SEEK_SET) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  pid_t child = -1;
  CommandResult result;
  if (::posix_spawnp(&child, args[0], &actions, nullptr, args.data(), environ) == 0) {
    int status = 0;
    BSMTP_CHECK(::waitpid(child, &status, 0) == child);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  posix_spawn_file_actions_destroy(&actions);
  result.out = read_all(out);
  result.err = read_all(err);
  for (const int fd : {in, out, err}) {
    ::close(fd);
  }
  return result;
}

ShortTempDir::ShortTempDir() : path_("/tmp/bk.XXXXXX") {
  BSMTP_CHECK(::mkdtemp(path_.data()) != nullptr);
}

ShortTempDir::~ShortTempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ShortTempDir::write(const std::string& name, std::string_view contents) const {
  const std::string path = path_ + "/" + name;
  std::ofstream file(path, std::ios::binary);
  file << contents;
  BSMTP_CHECK(file.flush().good());
  return path;
}

TestKeyring::TestKeyring() : home_(dir_.path() + "/h") {
  BSMTP_CHECK(::mkdir(home_.c_str(), 0700) == 0);
  dir_.write("h/gpg.conf", "digest-algo SHA256\n");
  dir_.write("h/gpg-agent.conf", "s2k-count 65536\nallow-loopback-pinentry\n");
}

TestKeyring::~TestKeyring() {
  run_command({"gpgconf", "--homedir", home_, "--kill", "gpg-agent"});
}

CommandResult TestKeyring::gpg(const std::vector<std::string>& args, std::string_view input) const {
  std::vector<std::string> argv = {"gpg",      "--homedir",       home_,      "--batch",
                                   "--no-tty", "--pinentry-mode", "loopback", "--yes"};
  argv.insert(argv.end(), args.begin(), args.end());
  return run_command(argv, input);
}

std::string TestKeyring::add_key(const std::string& user_id, const std::string& algorithm,
                                 const std::string& expire, const std::string& passphrase,
                                 const std::string& when) {
  std::vector<std::string> args = {"--passphrase", passphrase};
  if (!when.empty()) {
    args.insert(args.end(), {"--faked-system-time", when});
  }
  args.insert(args.end(), {"--quick-generate-key", user_id, algorithm, "sign", expire});
  const CommandResult made = gpg(args);
  if (made.code != 0) {
    std::fprintf(stderr, "gpg: %s\n", made.err.c_str());
  }
  BSMTP_CHECK(made.code == 0);
  return last_fingerprint(gpg({"--with-colons", "--list-keys", user_id}).out);
}

std::string TestKeyring::add_subkey(const std::string& fingerprint) {
  BSMTP_CHECK(
      gpg({"--passphrase", "", "--quick-add-key", fingerprint, "ed25519", "sign", "never"}).code ==
      0);
  return last_fingerprint(
      gpg({"--with-colons", "--with-subkey-fingerprint", "--list-keys", fingerprint}).out);
}

void TestKeyring::revoke_key(const std::string& fingerprint) {
  std::string certificate;
  {
    std::ifstream file(home_ + "/openpgp-revocs.d/" + fingerprint + ".rev");
    certificate.assign(std::istreambuf_iterator<char>(file), {});
  }
  // gpg puts a colon before the armour so that nobody imports it by accident.
  const std::size_t colon = certificate.find(":-----BEGIN");
  BSMTP_CHECK(colon != std::string::npos);
  certificate.erase(colon, 1);
  import(certificate);
}

std::string TestKeyring::export_public(const std::string& fingerprint) const {
  const CommandResult result = gpg({"--armor", "--export", fingerprint});
  BSMTP_CHECK(result.code == 0 && !result.out.empty());
  return result.out;
}

std::string TestKeyring::export_secret(const std::string& fingerprint) const {
  const CommandResult result =
      gpg({"--passphrase", "", "--armor", "--export-secret-keys", fingerprint});
  BSMTP_CHECK(result.code == 0 && !result.out.empty());
  return result.out;
}

void TestKeyring::import(const std::string& key_text) const {
  const CommandResult result = gpg({"--import"}, key_text);
  if (result.code != 0) {
    std::fprintf(stderr, "gpg: %s\n", result.err.c_str());
  }
  BSMTP_CHECK(result.code == 0);
}

std::string TestKeyring::sign(const std::string& fingerprint, std::string_view data,
                              const std::vector<std::string>& extra) const {
  std::vector<std::string> args = extra;
  args.insert(args.end(), {"--armor", "--local-user", fingerprint, "--detach-sign"});
  const CommandResult result = gpg(args, data);
  if (result.code != 0) {
    std::fprintf(stderr, "gpg: %s\n", result.err.c_str());
  }
  BSMTP_CHECK(result.code == 0);
  return result.out;
}

}  // namespace bsmtp::test
