// Throw-away GnuPG homes with keys made at run time, driven by the gpg program itself, so that
// tests have a second opinion beside GPGME. Paths are short (gpg-agent's sockets); the agent is
// ended with `gpgconf --kill`, and the directory removed. Trouble aborts: a test cannot go on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bsmtp::test {

struct CommandResult {
  int code = -1;  // exit code, 128 + signal when killed
  std::string out;
  std::string err;
};
// Runs a program found in PATH, with `input` on stdin; no shell.
CommandResult run_command(const std::vector<std::string>& argv, std::string_view input = "");

class ShortTempDir {
 public:
  ShortTempDir();
  ~ShortTempDir();
  ShortTempDir(const ShortTempDir&) = delete;
  ShortTempDir& operator=(const ShortTempDir&) = delete;
  const std::string& path() const { return path_; }
  // Writes PATH/name and returns its full name.
  std::string write(const std::string& name, std::string_view contents) const;

 private:
  std::string path_;
};

class TestKeyring {
 public:
  TestKeyring();
  ~TestKeyring();
  TestKeyring(const TestKeyring&) = delete;
  TestKeyring& operator=(const TestKeyring&) = delete;

  const std::string& home() const { return home_; }
  // Makes a sign-only key ("ed25519", "rsa2048", ...) and returns its fingerprint. `expire` as gpg
  // takes it: "never", "seconds=1", "20200101T000000". `when` = "20200101T000000" fakes the clock.
  std::string add_key(const std::string& user_id, const std::string& algorithm = "ed25519",
                      const std::string& expire = "never", const std::string& passphrase = "",
                      const std::string& when = "");
  // Adds a signing subkey; returns its fingerprint.
  std::string add_subkey(const std::string& fingerprint);
  void revoke_key(const std::string& fingerprint);
  std::string export_public(const std::string& fingerprint) const;
  std::string export_secret(const std::string& fingerprint) const;
  void import(const std::string& key_text) const;
  // `gpg --homedir H --batch --no-tty ARGS...`
  CommandResult gpg(const std::vector<std::string>& args, std::string_view input = "") const;
  // Detached armoured signature of `data`; `extra` are more options, --textmode for example.
  std::string sign(const std::string& fingerprint, std::string_view data,
                   const std::vector<std::string>& extra = {}) const;

 private:
  ShortTempDir dir_;
  std::string home_;
};

}  // namespace bsmtp::test
