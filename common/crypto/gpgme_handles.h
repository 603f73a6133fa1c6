// RAII over GPGME's handles, and the few calls that openpgp.cc and keyring.cc share. Private to
// this module: nobody else includes gpgme.h or this file. Callbacks never throw.
#pragma once

#include <gpgme.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/base/unique_fd.h"

namespace bsmtp::crypto {

struct ContextRelease {
  void operator()(gpgme_ctx_t context) const { gpgme_release(context); }
};
struct DataRelease {
  void operator()(gpgme_data_t data) const { gpgme_data_release(data); }
};
struct KeyRelease {
  void operator()(gpgme_key_t key) const { gpgme_key_unref(key); }
};
using Context = std::unique_ptr<gpgme_context, ContextRelease>;
using Data = std::unique_ptr<gpgme_data, DataRelease>;
using Key = std::unique_ptr<struct _gpgme_key, KeyRelease>;  // NOLINT: GPGME's own tag

// OpenPGP only, offline, armoured, on a private home.
// First call initialises GPGME and makes the process ignore SIGPIPE: gpg may die while we write.
Result<Context> new_context(const std::string& home);

// Held while the home is read or written: gpg's own lock files are switched off (keyring.cc), and
// while it replaces a key ring there is none for a moment, which a reader would take for a home
// without keys. Ends with the descriptor. Waits a minute for others: temporary 4.3.0 then, because
// a gpg of theirs may hang.
enum class HomeUse { kRead, kWrite };
Result<UniqueFd> lock_home(const std::string& home, HomeUse use);

// Temporary 4.7.0 "WHAT: gpg's reason; REMEDY".
Status gpgme_trouble(std::string_view what, gpgme_error_t error, std::string_view remedy);

Result<Data> memory_data();                        // empty, to be written
Result<Data> memory_data(std::string_view bytes);  // `bytes` must outlive it
Result<std::string> take_bytes(Data data);

// A Source for GPGME to read; remembers why the Source failed, because GPGME only keeps an errno.
class SourceData {
 public:
  static Result<std::unique_ptr<SourceData>> make(Source& from);
  gpgme_data_t get() const { return data_.get(); }
  const Status& failure() const { return failure_; }

 private:
  explicit SourceData(Source& from) : from_(from), block_(kBlockSize) {}
  static ssize_t read_callback(void* self, void* buffer, std::size_t size);
  Result<std::size_t> read(char* buffer, std::size_t size);

  Source& from_;
  std::vector<char> block_;
  std::size_t pos_ = 0;
  std::size_t end_ = 0;
  Status failure_;
  Data data_;
};

// Gives the first line of a file as passphrase, for loopback pinentry; asked again for the same
// key it gives up, so that a wrong one is an error and not a loop. "" = there is none to give.
class Passphrase {
 public:
  explicit Passphrase(std::string file) : file_(std::move(file)) {}
  void attach(gpgme_ctx_t context);
  const Status& failure() const { return failure_; }

 private:
  static gpgme_error_t callback(void* self, const char* hint, const char* info, int was_bad,
                                int fd);
  std::string file_;
  Status failure_;
};

// nullptr when the home has no such key. `fingerprint` is normalised.
Result<Key> find_key(gpgme_ctx_t context, const std::string& fingerprint, bool secret);

inline bool usable(const _gpgme_subkey& subkey) {
  return !subkey.revoked && !subkey.expired && !subkey.disabled && !subkey.invalid;
}

inline std::string or_empty(const char* text) {
  return text != nullptr ? text : "";
}

}  // namespace bsmtp::crypto
