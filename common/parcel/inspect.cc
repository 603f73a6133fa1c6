#include "common/parcel/inspect.h"

#include <optional>
#include <utility>

#include "common/base/text.h"
#include "common/bsmtp/parser.h"
#include "common/digest/sha256.h"
#include "common/os/fd_stream.h"
#include "common/parcel/payload.h"
#include "common/parcel/structure.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kMaxSenders = 20;

std::string type_of(const mail::EntityHeader& header) {
  return printable(header.content_type.type + "/" + header.content_type.subtype, 100);
}

// Looks at the batch without taking anything from it.
class Looker final : public batch::Handler {
 public:
  explicit Looker(Inspection& to) : to_(to) {}
  Status begin_message(const mail::Envelope& envelope, std::size_t /*index*/) override {
    if (to_.senders.size() < kMaxSenders) {
      to_.senders.push_back(printable("<" + envelope.sender + ">", 300));
    }
    to_.recipients += envelope.recipients.size();
    return Status::ok();
  }
  Status text(std::string_view /*stuffed*/) override { return Status::ok(); }
  Status end_message(const mail::TextFacts& /*facts*/) override {
    ++to_.messages;
    return Status::ok();
  }

 private:
  Inspection& to_;
};

void note_manifest(const mail::EntityHeader& header, Inspection& to) {
  const mail::HeaderField* field = header.find(kManifestField);
  if (field == nullptr) {
    return;
  }
  auto manifest = parse_manifest(field->value);
  if (manifest.is_ok() && header.count(kManifestField) == 1) {
    to.manifest = std::move(manifest).value();
  } else {
    to.manifest_error = manifest.is_ok() ? "it stands twice" : manifest.status().text();
  }
}

// Of the octets that a verifier would be given (unsigned: of the part's body).
Result<std::string> digest_of(os::FileOps& ops, const os::File& file, std::uint64_t begin,
                              std::uint64_t end) {
  os::RangeSource range(ops, file, begin, end - begin);
  digest::Sha256Sink digest(nullptr);
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(range, digest));
  return digest.hex();
}

// A verdict becomes the `problem`; trouble with the file goes to the caller.
Status note_problem(const Status& status, Inspection& to) {
  if (status.is_temporary()) {
    return status;
  }
  if (!status.is_ok()) {
    to.problem = status.text();
  }
  return Status::ok();
}

Status look_inside(os::FileOps& ops, const os::File& file, const Limits& limits,
                   const Structure& structure, Inspection& to) {
  const Extent& part = structure.part;
  if (structure.is_signed) {
    const Extent& signature = structure.signature;
    to.layers.push_back({"multipart/signed", "", signature.next});
    to.signature_kind =
        "OpenPGP, " + std::to_string(signature.end - signature.begin) + " octets, not verified";
  }
  to.layers.push_back({type_of(structure.part_header),
                       printable(structure.part_header.transfer_encoding, 40),
                       part.end - part.body});
  TRY_ASSIGN(to.digest,
             digest_of(ops, file, structure.is_signed ? part.begin : part.body, part.end));
  batch::Agreement all;
  all.smtputf8 = true;
  PayloadRequest request{ops, file, part, structure.part_header, limits, all};
  request.check_header = [&](const mail::EntityHeader& header) {
    if (structure.compressed) {
      to.layers.push_back({type_of(header), printable(header.transfer_encoding, 40), 0});
    }
    note_manifest(header, to);
    return Status::ok();
  };
  Looker looker(to);
  const auto facts = read_payload(request, looker);
  if (facts.is_ok()) {
    to.plain_bytes = facts->plain_bytes;
    if (structure.compressed) {
      to.layers.back().octets = facts->plain_bytes;
    }
  }
  return note_problem(facts.status(), to);
}

}  // namespace

Result<Inspection> inspect(os::FileOps& ops, const os::File& file, const Limits& limits) {
  Inspection inspection;
  const auto structure = read_structure(ops, file, limits);
  if (!structure.is_ok()) {
    TRY(note_problem(structure.status(), inspection));
    return inspection;
  }
  if (structure->kind != Structure::Kind::kParcel) {
    inspection.problem = structure->why;
    return inspection;
  }
  TRY(look_inside(ops, file, limits, *structure, inspection));
  return inspection;
}

}  // namespace bsmtp::parcel
