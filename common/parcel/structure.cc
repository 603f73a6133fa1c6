#include "common/parcel/structure.h"

#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/os/fd_stream.h"

namespace bsmtp::parcel {
namespace {

mail::HeaderLimits header_limits(const Limits& limits) {
  return {limits.header_bytes, limits.header_fields};
}

bool is_unencoded(std::string_view encoding) {
  return encoding == "7bit" || encoding == "8bit" || encoding == "binary";
}

bool is_carrier(const mail::MediaType& type) {
  return type.is("application/batch-smtp") || type.is("application/compressed-bsmtp");
}

// RFC 3464, as a receipt is one.
bool is_report(const mail::MediaType& type) {
  const std::string* kind = type.param("report-type");
  return type.is("multipart/report") && kind != nullptr && iequals(*kind, "delivery-status");
}

Status malformed(std::string text) {
  return Status::permanent("5.6.0", std::move(text));
}

Structure other(Structure::Kind kind, std::string why) {
  Structure structure;
  structure.kind = kind;
  structure.why = std::move(why);
  return structure;
}

std::string type_name(const mail::MediaType& type) {
  return printable(type.type + "/" + type.subtype, 100);
}

Extent extent(const mail::Part& part) {
  return {part.begin, part.body, part.end, part.next};
}

// RFC 1847 2.1: exactly two parts, the second one is the signature.
Result<Structure> signed_structure(std::vector<mail::Part> parts, const Limits& limits) {
  const bool receipt = !parts.empty() && is_report(parts.front().header.content_type);
  if (parts.empty() || (!receipt && !is_carrier(parts.front().header.content_type))) {
    return other(Structure::Kind::kNotAParcel, "a signed mail, but no batch in it");
  }
  if (parts.size() != 2 || !parts[1].header.content_type.is(kPgpSignatureType)) {
    return malformed("multipart/signed without exactly one part and one signature");
  }
  if (!is_unencoded(parts[1].header.transfer_encoding)) {
    return malformed("the signature part is transfer-encoded");
  }
  Structure structure;
  structure.kind = receipt ? Structure::Kind::kReceipt : Structure::Kind::kParcel;
  structure.why = receipt ? "a signed delivery report: a receipt of a peer's gateway, perhaps" : "";
  structure.is_signed = true;
  structure.signature = extent(parts[1]);
  structure.signature.begin = parts[1].body;
  if (structure.signature.end - structure.signature.begin > limits.signature_bytes) {
    return Status::permanent("5.3.4", "the signature part is too big");
  }
  structure.compressed = parts[0].header.content_type.is(kCompressedType);
  structure.part = extent(parts[0]);
  structure.part_header = std::move(parts[0].header);
  return structure;
}

Result<Structure> read_signed(os::FileOps& ops, const os::File& file, std::uint64_t size,
                              const mail::EntityHeader& top, const Limits& limits) {
  const std::string* protocol = top.content_type.param("protocol");
  if (protocol == nullptr || !iequals(*protocol, kPgpSignatureType)) {
    return other(Structure::Kind::kUnsupported,
                 "signed, but not by OpenPGP: protocol " +
                     (protocol == nullptr ? "is missing" : printable(*protocol, 60)));
  }
  const std::string* boundary = top.content_type.param("boundary");
  if (boundary == nullptr || !mail::is_boundary(*boundary)) {
    return malformed("multipart/signed without a valid boundary");
  }
  if (!is_unencoded(top.transfer_encoding)) {
    return malformed("multipart/signed with a transfer encoding");
  }
  os::RangeSource body(ops, file, top.octets, size - top.octets);
  mail::MimeLimits mime;
  mime.header = header_limits(limits);
  mime.parts = limits.mime_parts;
  TRY_ASSIGN(auto parts, mail::split_multipart(body, *boundary, mime, top.octets));
  return signed_structure(std::move(parts), limits);
}

// A parcel that something on its way wrapped into another multipart, to add a footer or a notice:
// its batch is lost to its senders unless a human hears of it, so it is not "ordinary mail".
// Nothing inside is read but the labels of the parts.
Result<bool> wraps_a_parcel(os::FileOps& ops, const os::File& file, std::uint64_t size,
                            const mail::EntityHeader& top, const Limits& limits) {
  const std::string* boundary = top.content_type.param("boundary");
  if (boundary == nullptr || !mail::is_boundary(*boundary) ||
      !is_unencoded(top.transfer_encoding)) {
    return false;
  }
  os::RangeSource body(ops, file, top.octets, size - top.octets);
  mail::MimeLimits mime;
  mime.header = header_limits(limits);
  mime.parts = limits.mime_parts;
  const auto parts = mail::split_multipart(body, *boundary, mime, top.octets);
  if (!parts.is_ok()) {
    if (parts.status().is_temporary()) {
      return parts.status();
    }
    return false;
  }
  for (const mail::Part& part : *parts) {
    const mail::MediaType& type = part.header.content_type;
    const std::string* protocol = type.param("protocol");
    if (is_carrier(type) ||
        (type.is(kSignedType) && protocol != nullptr && iequals(*protocol, kPgpSignatureType))) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<Structure> read_structure(os::FileOps& ops, const os::File& file, const Limits& limits) {
  TRY_ASSIGN(const os::FileInfo info, ops.stat(file));
  return read_structure(ops, file, info.size, limits);
}

Result<Structure> read_structure(os::FileOps& ops, const os::File& file, std::uint64_t size,
                                 const Limits& limits) {
  if (size > limits.parcel_bytes) {
    return Status::permanent("5.3.4", "the parcel has " + std::to_string(size) +
                                          " octets, the limit is " +
                                          std::to_string(limits.parcel_bytes));
  }
  os::RangeSource all(ops, file, 0, size);
  TRY_ASSIGN(mail::EntityHeader top, mail::read_entity_header(all, header_limits(limits)));
  const mail::MediaType& type = top.content_type;
  if (type.is(kSignedType)) {
    return read_signed(ops, file, size, top, limits);
  }
  if (type.is("multipart/encrypted") || type.is("application/pkcs7-mime")) {
    return other(Structure::Kind::kUnsupported,
                 "encrypted or S/MIME (" + type_name(type) + "), which this version cannot open");
  }
  if (iequals(type.type, "multipart")) {
    TRY_ASSIGN(const bool wrapped, wraps_a_parcel(ops, file, size, top, limits));
    if (wrapped) {
      return other(Structure::Kind::kUnsupported,
                   "something on the way wrapped the parcel into " + type_name(type) +
                       ": exempt the parcel address from footers and notices");
    }
  }
  if (!is_carrier(type)) {
    return other(Structure::Kind::kNotAParcel, "ordinary mail (" + type_name(type) + ")");
  }
  Structure structure;
  structure.kind = Structure::Kind::kParcel;
  structure.compressed = type.is(kCompressedType);
  structure.part = {0, top.octets, size, size};
  structure.part_header = std::move(top);
  return structure;
}

}  // namespace bsmtp::parcel
