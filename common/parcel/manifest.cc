#include "common/parcel/manifest.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/parcel/format.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kMaxValue = 4096;
constexpr std::size_t kMaxTags = 32;
constexpr std::size_t kMaxHost = 253;
constexpr std::array<std::string_view, 8> kKnownTags = {"v", "id", "from", "to",
                                                        "t", "x",  "rr",   "crit"};

using Tags = std::vector<std::pair<std::string, std::string>>;

Status bad(std::string_view what) {
  return Status::permanent("5.6.0", str_cat({kManifestField, ": ", what}));
}

// RFC 6376 3.2: tag-name = ALPHA *(ALPHA / DIGIT / "_").
bool is_tag_name(std::string_view name) {
  const auto alpha = [](char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; };
  return !name.empty() && name.size() <= 32 && alpha(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alpha(c) || (c >= '0' && c <= '9') || c == '_'; });
}

// RFC 6376 3.2: VALCHAR, no ';', blanks only inside.
bool is_tag_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return (c >= 0x20 && c < 0x7F) || c == '\t'; });
}

// Lower-case letters, digits and hyphens in at least two labels (A-labels for IDN).
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > kMaxHost) {
    return false;
  }
  const auto labels = split(host, '.');
  return labels.size() >= 2 &&
         std::all_of(labels.begin(), labels.end(), [](std::string_view label) {
           return !label.empty() && label.size() <= 63 && label.front() != '-' &&
                  label.back() != '-' && std::all_of(label.begin(), label.end(), [](char c) {
                    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                  });
         });
}

Result<Tags> split_tags(std::string_view value) {
  if (value.size() > kMaxValue) {
    return bad("too long");
  }
  Tags tags;
  auto pieces = split(value, ';');
  if (trim(pieces.back()).empty()) {
    pieces.pop_back();  // behind the last ';', which may be left out
  }
  for (const std::string_view piece : pieces) {
    const std::size_t equals = piece.find('=');
    if (equals == std::string_view::npos) {
      return bad("an entry without \"=\"");
    }
    std::string name(trim(piece.substr(0, equals)));
    std::string text(trim(piece.substr(equals + 1)));
    if (!is_tag_name(name) || !is_tag_value(text)) {
      return bad("an entry that is no tag=value");
    }
    if (std::any_of(tags.begin(), tags.end(), [&](const auto& tag) { return tag.first == name; })) {
      return bad("tag " + name + "= stands twice");
    }
    tags.emplace_back(std::move(name), std::move(text));
    if (tags.size() > kMaxTags) {
      return bad("too many tags");
    }
  }
  return tags;
}

Result<std::string> take(const Tags& tags, std::string_view name) {
  for (const auto& [tag, value] : tags) {
    if (tag == name) {
      return value;
    }
  }
  return bad(str_cat({"tag ", name, "= is missing"}));
}

// crit= names tags that a reader must understand, separated by ':'.
Status check_critical(const Tags& tags) {
  const auto crit = take(tags, "crit");
  if (!crit.is_ok()) {
    return Status::ok();
  }
  for (const std::string_view name : split(*crit, ':')) {
    if (std::find(kKnownTags.begin(), kKnownTags.end(), trim(name)) == kKnownTags.end()) {
      return bad("its sender demands understanding of tag " + printable(trim(name), 40) +
                 "=, which this version lacks");
    }
  }
  return Status::ok();
}

Result<TimePoint> take_time(const Tags& tags, std::string_view name) {
  TRY_ASSIGN(const std::string text, take(tags, name));
  auto when = parse_iso(text);
  if (!when.is_ok()) {
    return bad(str_cat({"tag ", name, "= is no time like 20261122T011000Z"}));
  }
  return *when;
}

Result<std::string> take_host(const Tags& tags, std::string_view name) {
  TRY_ASSIGN(std::string host, take(tags, name));
  if (!is_host(host)) {
    return bad(str_cat({"tag ", name, "= is no lower-case host name"}));
  }
  return host;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view value) {
  std::string unfolded(value.substr(0, kMaxValue + 1));
  std::replace_if(
      unfolded.begin(), unfolded.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  TRY_ASSIGN(const Tags tags, split_tags(unfolded));
  if (tags.empty() || tags.front() != std::pair<std::string, std::string>("v", "1")) {
    return bad("does not begin with v=1, the version known here");
  }
  TRY(check_critical(tags));
  Manifest manifest;
  TRY_ASSIGN(manifest.id, take(tags, "id"));
  if (!is_id(manifest.id)) {
    return bad("tag id= is no parcel id (44 lower-case hex digits)");
  }
  TRY_ASSIGN(manifest.from, take_host(tags, "from"));
  TRY_ASSIGN(manifest.to, take_host(tags, "to"));
  TRY_ASSIGN(manifest.created, take_time(tags, "t"));
  TRY_ASSIGN(manifest.expires, take_time(tags, "x"));
  if (manifest.expires <= manifest.created || manifest.expires - manifest.created > kMaxLifetime) {
    return bad("tag x= is not within 30 days after t=");
  }
  const auto receipt = take(tags, "rr");
  if (receipt.is_ok()) {
    if (*receipt != "0" && *receipt != "1" && *receipt != "2") {
      return bad("tag rr= is not 0, 1 or 2");
    }
    manifest.receipt = static_cast<Receipt>(receipt->front() - '0');
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
