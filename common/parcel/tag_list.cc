#include "common/parcel/tag_list.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/base/units.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kMaxValue = 4096;
constexpr std::size_t kMaxTags = 32;
constexpr std::size_t kMaxHost = 253;

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

}  // namespace

Status TagList::bad(std::string_view what) const {
  return Status::permanent("5.6.0", str_cat({field_, ": ", what}));
}

Status TagList::split_tags(std::string_view value) {
  if (value.size() > kMaxValue) {
    return bad("too long");
  }
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
    if (has(name)) {
      return bad("tag " + name + "= stands twice");
    }
    tags_.emplace_back(std::move(name), std::move(text));
    if (tags_.size() > kMaxTags) {
      return bad("too many tags");
    }
  }
  return Status::ok();
}

// crit= names tags that a reader must understand, separated by ':'.
Status TagList::check_critical(std::span<const std::string_view> known) const {
  const auto crit = text("crit");
  if (!crit.is_ok()) {
    return Status::ok();
  }
  for (const std::string_view name : split(*crit, ':')) {
    if (std::find(known.begin(), known.end(), trim(name)) == known.end()) {
      return bad("its sender demands understanding of tag " + printable(trim(name), 40) +
                 "=, which this version lacks");
    }
  }
  return Status::ok();
}

Result<TagList> TagList::parse(std::string_view field, std::string_view value,
                               std::span<const std::string_view> known) {
  TagList list(field);
  std::string unfolded(value.substr(0, kMaxValue + 1));
  std::replace_if(
      unfolded.begin(), unfolded.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  TRY(list.split_tags(unfolded));
  if (list.tags_.empty() || list.tags_.front() != std::pair<std::string, std::string>("v", "1")) {
    return list.bad("does not begin with v=1, the version known here");
  }
  TRY(list.check_critical(known));
  return list;
}

bool TagList::has(std::string_view name) const {
  return std::any_of(tags_.begin(), tags_.end(),
                     [&](const auto& tag) { return tag.first == name; });
}

Result<std::string> TagList::text(std::string_view name) const {
  for (const auto& [tag, value] : tags_) {
    if (tag == name) {
      return value;
    }
  }
  return bad(str_cat({"tag ", name, "= is missing"}));
}

Result<TimePoint> TagList::time(std::string_view name) const {
  TRY_ASSIGN(const std::string value, text(name));
  auto when = parse_iso(value);
  if (!when.is_ok()) {
    return bad(str_cat({"tag ", name, "= is no time like 20261122T011000Z"}));
  }
  return *when;
}

Result<std::string> TagList::host(std::string_view name) const {
  TRY_ASSIGN(std::string value, text(name));
  if (!is_host(value)) {
    return bad(str_cat({"tag ", name, "= is no lower-case host name"}));
  }
  return value;
}

}  // namespace bsmtp::parcel
