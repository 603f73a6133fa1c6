// Describes a parcel file layer by layer for an admin, without keys and without believing any of
// it: what `bsmtpctl parcel inspect` prints. Reads mail as received or a built entity, in CRLF
// lines (spool a file with LF lines through mail::CrlfNormaliser first). All of it is parsed in a
// caged child (confined.h), unless that is switched off; what the child says may be a lie.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/os/file_ops.h"
#include "common/parcel/format.h"
#include "common/parcel/manifest.h"

namespace bsmtp::parcel {

struct Layer {
  std::string type;          // media type as found, printable
  std::string encoding;      // Content-Transfer-Encoding or "gzip"
  std::uint64_t octets = 0;  // encoded
};

struct Inspection {
  std::vector<Layer> layers;  // outermost first
  std::optional<Manifest> manifest;
  std::string manifest_error;  // why there is none although the field is there
  std::string signature_kind;  // "OpenPGP, 228 octets", "" when unsigned
  std::string digest;          // of the part that would be given to the verifier, hex
  std::uint64_t plain_bytes = 0;
  std::uint64_t messages = 0;
  std::uint64_t recipients = 0;
  std::vector<std::string> senders;  // of the first messages, printable, at most 20
  std::string problem;  // the first thing that is wrong with it, "" when it is readable to the end
};

// Fails only when the file cannot be read, or the child not be made. But for kOff: while the
// process has one thread.
Result<Inspection> inspect(os::FileOps& ops, const os::File& file, const Limits& limits,
                           Sandbox sandbox);

// As the child sends it: "key: value" lines (spool/fields.h). What cannot be read, temporary 4.3.0.
std::string format_inspection(const Inspection& inspection);
Result<Inspection> parse_inspection(std::string_view text);

}  // namespace bsmtp::parcel
