// Constants of the parcel format that builder and opener share: media types, header names,
// profiles, limits. The specification is docs/parcel-format.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "common/codec/gzip.h"

namespace bsmtp::parcel {

inline constexpr std::string_view kBatchType = "application/batch-SMTP";  // RFC 2442
inline constexpr std::string_view kCompressedType = "application/compressed-bsmtp";
inline constexpr std::string_view kSignedType = "multipart/signed";
inline constexpr std::string_view kPgpSignatureType = "application/pgp-signature";
inline constexpr std::string_view kManifestField = "BSMTP-Parcel";
// RFC 2442 2: what an absent required-extensions parameter means.
inline constexpr std::string_view kDefaultExtensions = "8bitMIME,SIZE,NOTARY";
inline constexpr std::chrono::seconds kMaxLifetime{30 * 86400};

// What is sent to a peer; all of them are understood when received.
enum class Profile {
  kRfc2442,     // batch, base64
  kPmdfGzip,    // gzip of the batch entity (LF line ends, as PMDF's hosts write files)
  kPmdfSigned,  // the same inside multipart/signed
  kNative,      // gzip of the batch entity with a manifest, CRLF, inside multipart/signed
};
std::string_view profile_name(Profile profile);

// Whether what is inside a parcel is parsed in a caged child (confined.h): with what the kernel
// offers; only if it offers everything; not at all.
enum class Sandbox { kAuto, kOn, kOff };

// Everything a stranger's parcel can make us spend. Defaults are those of the configuration; the
// builder makes no parcel that they would refuse.
struct Limits {
  std::uint64_t parcel_bytes = 64ULL << 20U;
  std::uint64_t header_bytes = 65536;  // one entity's header block
  std::uint64_t header_fields = 200;
  std::uint64_t mime_parts = 8;
  std::uint64_t signature_bytes = 65536;
  codec::InflateLimits inflate;  // its ratio counts only for parcels without a good signature
  std::uint64_t messages = 10000;
  std::uint64_t recipients = 1000;  // per message
  // Of message text. No tighter than inflate.max_bytes: mail with long lines is bad style, but one
  // such message must not void the parcel of all others.
  std::uint64_t line = 1ULL << 30U;
};

}  // namespace bsmtp::parcel
