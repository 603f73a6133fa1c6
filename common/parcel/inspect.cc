#include "common/parcel/inspect.h"

#include <ctime>
#include <optional>
#include <utility>

#include "common/base/text.h"
#include "common/bsmtp/parser.h"
#include "common/digest/sha256.h"
#include "common/os/fd_stream.h"
#include "common/parcel/confined.h"
#include "common/parcel/payload.h"
#include "common/parcel/structure.h"
#include "common/spool/fields.h"

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

Result<Inspection> look(os::FileOps& ops, const os::File& file, std::uint64_t size,
                        const Limits& limits) {
  Inspection inspection;
  const auto structure = read_structure(ops, file, size, limits);
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

// --- between child and parent -------------------------------------------------------------------

constexpr std::size_t kMaxText = 64U << 10U;
constexpr const char* kTrouble = "trouble";
constexpr const char* kLayer = "layer";
constexpr const char* kSender = "sender";
constexpr const char* kManifest = "manifest";

constexpr std::size_t kMaxLayers = 8;
constexpr std::size_t kMaxWords = 500;

std::string numbered(const char* key, std::size_t n, const char* part = "") {
  return str_cat({key, ".", std::to_string(n + 1), part});
}

std::string words_of(const spool::Fields& fields, const std::string& key) {
  return printable(fields.get(key), kMaxWords);
}

}  // namespace

std::string format_inspection(const Inspection& inspection) {
  spool::Fields fields;
  for (std::size_t i = 0; i < inspection.layers.size(); ++i) {
    const Layer& layer = inspection.layers[i];
    fields.set(numbered(kLayer, i), layer.type);
    fields.set(numbered(kLayer, i, ".encoding"), layer.encoding);
    fields.set_number(numbered(kLayer, i, ".octets"), layer.octets);
  }
  for (std::size_t i = 0; i < inspection.senders.size(); ++i) {
    fields.set(numbered(kSender, i), inspection.senders[i]);
  }
  if (inspection.manifest) {
    auto manifest = format_manifest(*inspection.manifest);
    std::string line = manifest.is_ok() ? std::move(manifest).value() : "";
    std::erase_if(line, [](char c) { return c == '\r' || c == '\n'; });  // unfolded
    fields.set(kManifest, line);
  }
  fields.set("manifest-error", inspection.manifest_error);
  fields.set("signature", inspection.signature_kind);
  fields.set("digest", inspection.digest);
  fields.set_number("plain-octets", inspection.plain_bytes);
  fields.set_number("messages", inspection.messages);
  fields.set_number("recipients", inspection.recipients);
  fields.set("problem", inspection.problem);
  return fields.format();
}

Result<Inspection> parse_inspection(std::string_view text) {
  TRY_ASSIGN(const spool::Fields fields, spool::Fields::parse(text, "the parser's answer"));
  if (fields.has(kTrouble)) {
    return Status::temporary("4.3.0", printable(fields.get(kTrouble), 500));
  }
  Inspection inspection;
  for (std::size_t i = 0; i < kMaxLayers && fields.has(numbered(kLayer, i)); ++i) {
    inspection.layers.push_back({words_of(fields, numbered(kLayer, i)),
                                 words_of(fields, numbered(kLayer, i, ".encoding")),
                                 fields.get_number(numbered(kLayer, i, ".octets"))});
  }
  for (std::size_t i = 0; i < kMaxSenders && fields.has(numbered(kSender, i)); ++i) {
    inspection.senders.push_back(words_of(fields, numbered(kSender, i)));
  }
  if (auto manifest = parse_manifest(fields.get(kManifest)); manifest.is_ok()) {
    inspection.manifest = std::move(manifest).value();
  }
  inspection.manifest_error = words_of(fields, "manifest-error");
  inspection.signature_kind = words_of(fields, "signature");
  inspection.digest = words_of(fields, "digest");
  inspection.plain_bytes = fields.get_number("plain-octets");
  inspection.messages = fields.get_number("messages");
  inspection.recipients = fields.get_number("recipients");
  inspection.problem = words_of(fields, "problem");
  return inspection;
}

Result<Inspection> inspect(os::FileOps& ops, const os::File& file, const Limits& limits,
                           Sandbox sandbox) {
  TRY_ASSIGN(const os::FileInfo info, ops.stat(file));
  if (sandbox == Sandbox::kOff) {
    return look(ops, file, info.size, limits);
  }
  // What OpenSSL and the C library read files for at their first use, nobody can in the cage.
  digest::Sha256().finish();
  ::tzset();
  const auto text = run_confined(file, sandbox, kMaxText, [&](Sink& out) {
    const auto found = look(ops, file, info.size, limits);
    if (found.is_ok()) {
      return out.write(format_inspection(*found));
    }
    spool::Fields fields;
    fields.set(kTrouble, found.status().text());
    return out.write(fields.format());
  });
  if (!text.is_ok() && text.status().is_permanent()) {
    Inspection dead;
    dead.problem = text.status().text();
    return dead;
  }
  TRY(text.status());
  return parse_inspection(*text);
}

}  // namespace bsmtp::parcel
