// Sha256: streaming SHA-256 (FIPS 180-4), the suite's one digest. Only user of OpenSSL's EVP.
// Never fails towards its caller: when OpenSSL cannot even start a digest (no memory, broken
// provider configuration) the process aborts, which both MTAs answer by keeping the mail.
// Threads: one object, one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/stream.h"

namespace bsmtp::digest {

inline constexpr std::size_t kSha256Octets = 32;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::string_view data);
  // The digest of all octets so far, as 32 raw octets; ends this digest: no update() after it.
  std::string finish();
  // The same as 64 lower-case hex digits.
  std::string finish_hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Digest of one view as 64 lower-case hex digits.
std::string sha256_hex(std::string_view data);

// Hashes what passes on to `next` (may be null: then only hashes). finish() does not finish
// `next`; the digest is asked for by hex(), once.
class Sha256Sink final : public Sink {
 public:
  explicit Sha256Sink(Sink* next) : next_(next) {}
  Status write(std::string_view data) override;
  std::string hex() { return digest_.finish_hex(); }

 private:
  Sink* next_;
  Sha256 digest_;
};

}  // namespace bsmtp::digest
