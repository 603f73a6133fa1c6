// First half of opening: the outermost layers of a mail by offsets, before any crypto and without
// changing an octet. The top of the mail must itself be the security layer or the parcel; nothing
// is searched for inside other multiparts (signature wrapping: docs/parcel-format.md).
#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"
#include "common/mail/mime.h"
#include "common/os/file_ops.h"
#include "common/parcel/format.h"

namespace bsmtp::parcel {

// Of one part, in octets of the file.
struct Extent {
  std::uint64_t begin = 0;  // first octet of its header
  std::uint64_t body = 0;
  std::uint64_t end = 0;   // before the line end that belongs to the delimiter
  std::uint64_t next = 0;  // behind that line end
};

struct Structure {
  // kReceipt: signed, and the signed part is a delivery report (receipt.h). `part` is the report.
  enum class Kind { kParcel, kReceipt, kNotAParcel, kUnsupported };
  Kind kind = Kind::kNotAParcel;
  std::string why;  // when no parcel
  bool is_signed = false;
  bool compressed = false;
  mail::EntityHeader part_header;  // of the part that carries the batch
  Extent part;
  Extent signature;  // begin = first octet of the signature itself
};

// Permanent 5.3.4 over a cap, 5.6.0 malformed; temporary when the file cannot be read.
Result<Structure> read_structure(os::FileOps& ops, const os::File& file, const Limits& limits);
// Of a file whose size is known: only reads.
Result<Structure> read_structure(os::FileOps& ops, const os::File& file, std::uint64_t size,
                                 const Limits& limits);

}  // namespace bsmtp::parcel
