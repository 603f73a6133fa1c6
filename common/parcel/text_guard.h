// TextGuard stands between a parcel file and the verifier. gpg's text-mode digest ignores what
// stands behind column 19995 of a line and NUL and CR at a line's end (seen with gpg 2.2.40, see
// docs/parcel-format.md): octets there would be processed though nobody signed them. So such data
// never reach the verifier. Also makes the other canonical forms that PMDF's scripts signed.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/stream.h"
#include "common/digest/sha256.h"

namespace bsmtp::parcel {

// RFC 3156 3 demands quoted-printable or base64 (76 columns) in signed parts; 998 is what SMTP
// carries at all (RFC 5321 4.5.3.1.6).
inline constexpr std::uint64_t kMaxSignedLine = 998;

class TextGuard final : public Source {
 public:
  enum class Form { kCrlf, kLf };
  // `from` is CRLF text; read() gives it in `form`.
  TextGuard(Source& from, Form form) : from_(from), form_(form), block_(kBlockSize) {}
  // Permanent 5.6.0 for NUL, CR or LF by itself, or a line of more than kMaxSignedLine octets.
  Result<std::size_t> read(std::span<char> out) override;
  // SHA-256 of all octets that read() has given, hex; once.
  std::string digest_hex() { return digest_.finish_hex(); }

 private:
  Status check(std::string_view data);

  Source& from_;
  Form form_;
  std::vector<char> block_;
  std::uint64_t column_ = 0;
  bool cr_ = false;
  digest::Sha256 digest_;
};

}  // namespace bsmtp::parcel
