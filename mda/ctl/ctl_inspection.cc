#include "mda/ctl/ctl_inspection.h"

#include "common/base/text.h"

namespace bsmtp::mda::ctl {
namespace {

void manifest_json(Json& json, const parcel::Manifest& manifest) {
  json.object()
      .field("id", manifest.id)
      .field("from", manifest.from)
      .field("to", manifest.to)
      .field("created", time_text(manifest.created))
      .field("expires", time_text(manifest.expires))
      .end();
}

}  // namespace

void print_inspection(std::ostream& out, const parcel::Inspection& inspection) {
  out << "layers (nothing here is verified):\n";
  std::string indent = "  ";
  for (const parcel::Layer& layer : inspection.layers) {
    out << indent << printable(layer.type, 100);
    if (!layer.encoding.empty()) {
      out << ", " << printable(layer.encoding, 40);
    }
    out << ", " << layer.octets << " octets\n";
    indent += "  ";
  }
  out << "signature  "
      << (inspection.signature_kind.empty() ? "none" : printable(inspection.signature_kind))
      << "\n";
  if (!inspection.digest.empty()) {
    out << "digest     " << inspection.digest << " (SHA-256 of what would be verified)\n";
  }
  if (inspection.manifest) {
    const parcel::Manifest& m = *inspection.manifest;
    out << "parcel id  " << m.id << "\n"
        << "from, to   " << printable(m.from) << ", " << printable(m.to) << "\n"
        << "created    " << time_text(m.created) << "\n"
        << "expires    " << time_text(m.expires) << "\n";
  } else if (!inspection.manifest_error.empty()) {
    out << "manifest   " << printable(inspection.manifest_error) << "\n";
  }
  out << "batch      " << inspection.messages << " messages, " << inspection.recipients
      << " recipients, " << inspection.plain_bytes << " octets\n";
  for (const std::string& sender : inspection.senders) {
    out << "  from " << printable(sender, 320) << "\n";
  }
  out << "problem    " << (inspection.problem.empty() ? "none" : printable(inspection.problem))
      << "\n";
}

void inspection_json(Json& json, const parcel::Inspection& inspection) {
  json.object().key("layers").array();
  for (const parcel::Layer& layer : inspection.layers) {
    json.object()
        .field("type", layer.type)
        .field("encoding", layer.encoding)
        .count("octets", layer.octets)
        .end();
  }
  json.end().key("manifest");
  if (inspection.manifest) {
    manifest_json(json, *inspection.manifest);
  } else {
    json.null();
  }
  json.field("manifest_error", inspection.manifest_error)
      .field("signature", inspection.signature_kind)
      .field("digest", inspection.digest)
      .count("plain_bytes", inspection.plain_bytes)
      .count("messages", inspection.messages)
      .count("recipients", inspection.recipients)
      .key("senders")
      .array();
  for (const std::string& sender : inspection.senders) {
    json.string(sender);
  }
  json.end().field("problem", inspection.problem).end();
}

}  // namespace bsmtp::mda::ctl
