#include "common/parcel/manifest.h"

#include <array>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/parcel/format.h"
#include "common/parcel/tag_list.h"

namespace bsmtp::parcel {
namespace {

constexpr std::array<std::string_view, 8> kKnownTags = {"v", "id", "from", "to",
                                                        "t", "x",  "rr",   "crit"};

}  // namespace

Result<Manifest> parse_manifest(std::string_view value) {
  TRY_ASSIGN(const TagList tags, TagList::parse(kManifestField, value, kKnownTags));
  Manifest manifest;
  TRY_ASSIGN(manifest.id, tags.text("id"));
  if (!is_id(manifest.id)) {
    return tags.bad("tag id= is no parcel id (44 lower-case hex digits)");
  }
  TRY_ASSIGN(manifest.from, tags.host("from"));
  TRY_ASSIGN(manifest.to, tags.host("to"));
  TRY_ASSIGN(manifest.created, tags.time("t"));
  TRY_ASSIGN(manifest.expires, tags.time("x"));
  if (manifest.expires <= manifest.created || manifest.expires - manifest.created > kMaxLifetime) {
    return tags.bad("tag x= is not within 30 days after t=");
  }
  if (tags.has("rr")) {
    TRY_ASSIGN(const std::string receipt, tags.text("rr"));
    if (receipt != "0" && receipt != "1" && receipt != "2") {
      return tags.bad("tag rr= is not 0, 1 or 2");
    }
    manifest.receipt = static_cast<Receipt>(receipt.front() - '0');
  }
  return manifest;
}

Result<std::string> format_manifest(const Manifest& manifest) {
  std::string text =
      str_cat({"v=1; id=", manifest.id, ";\r\n from=", manifest.from, ";\r\n to=", manifest.to,
               ";\r\n t=", format_iso(manifest.created), "; x=", format_iso(manifest.expires),
               "; rr=", std::to_string(static_cast<int>(manifest.receipt))});
  if (const auto read = parse_manifest(text); !read.is_ok()) {
    return Status::temporary("4.3.5", "cannot write the manifest of parcel " +
                                          printable(manifest.id, 60) + ": " + read.status().text());
  }
  return text;
}

std::string_view profile_name(Profile profile) {
  switch (profile) {
    case Profile::kRfc2442:
      return "rfc2442";
    case Profile::kPmdfGzip:
      return "pmdf-gzip";
    case Profile::kPmdfSigned:
      return "pmdf-signed";
    case Profile::kNative:
      return "native";
  }
  return "unknown";
}

}  // namespace bsmtp::parcel
