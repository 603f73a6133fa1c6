#include "common/spool/fields.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/units.h"

namespace bsmtp::spool {
namespace {

constexpr std::string_view kVersion = "version: 1";

bool is_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

}  // namespace

Result<Fields> Fields::parse(std::string_view text, std::string_view name) {
  const auto bad = [&](std::string_view why) {
    return Status::temporary("4.3.0", str_cat({name, ": ", why}));
  };
  if (text.size() > kMaxFieldsFile || !text.ends_with('\n')) {
    return bad("cut short or too large");
  }
  text.remove_suffix(1);
  const auto lines = split(text, '\n');
  if (lines.front() != kVersion) {
    return bad("is not of version 1; was it written by a newer release?");
  }
  Fields out;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto colon = lines[i].find(": ");
    const auto key = lines[i].substr(0, colon);
    if (colon == std::string_view::npos || !is_key(key) || out.has(key)) {
      return bad("line " + std::to_string(i + 1) + " is not 'key: value' or repeats a key");
    }
    const auto value = lines[i].substr(colon + 2);
    if (std::any_of(value.begin(), value.end(), is_control)) {
      return bad("line " + std::to_string(i + 1) + " holds a control character");
    }
    out.fields_.emplace_back(key, value);
  }
  return out;
}

std::string Fields::format() const {
  std::string out(kVersion);
  out += '\n';
  for (const auto& [key, value] : fields_) {
    out += str_cat({key, ": ", value, "\n"});
  }
  return out;
}

const std::string* Fields::find(std::string_view key) const {
  const auto it =
      std::find_if(fields_.begin(), fields_.end(), [&](const auto& f) { return f.first == key; });
  return it == fields_.end() ? nullptr : &it->second;
}

std::string Fields::get(std::string_view key) const {
  const std::string* value = find(key);
  return value == nullptr ? std::string() : *value;
}

std::uint64_t Fields::get_number(std::string_view key, std::uint64_t fallback) const {
  const std::string* value = find(key);
  return value == nullptr ? fallback : parse_u64(*value).value_or(fallback);
}

std::optional<TimePoint> Fields::get_time(std::string_view key) const {
  const auto parsed = parse_iso(get(key));
  return parsed.is_ok() ? std::optional<TimePoint>(*parsed) : std::nullopt;
}

void Fields::set(std::string_view key, std::string_view value) {
  BSMTP_CHECK(is_key(key) && key != "version");
  std::string clean(value);
  std::replace_if(clean.begin(), clean.end(), is_control, '?');
  const auto it =
      std::find_if(fields_.begin(), fields_.end(), [&](const auto& f) { return f.first == key; });
  if (it == fields_.end()) {
    fields_.emplace_back(key, std::move(clean));
  } else {
    it->second = std::move(clean);
  }
}

void Fields::set_number(std::string_view key, std::uint64_t value) {
  set(key, std::to_string(value));
}

void Fields::set_time(std::string_view key, TimePoint value) {
  set(key, format_iso(value));
}

void Fields::erase(std::string_view key) {
  std::erase_if(fields_, [&](const auto& f) { return f.first == key; });
}

}  // namespace bsmtp::spool
