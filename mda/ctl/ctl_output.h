// How bsmtpctl prints: aligned tables for people, JSON (RFC 8259) for programs. Everything that
// may come from mail passes printable() or json_quote() here, so a terminal cannot be driven by
// a sender's address. Threads: values.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace bsmtp::mda::ctl {

// Columns as wide as their widest cell; two blanks between; no trailing blanks.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Writes one JSON value; commas and quoting are its business, nesting is the caller's.
class Json {
 public:
  Json& object() { return open('{', '}'); }
  Json& array() { return open('[', ']'); }
  Json& end();
  Json& key(std::string_view name);
  Json& string(std::string_view value);
  Json& number(std::uint64_t value);
  Json& boolean(bool value);
  Json& null();
  Json& field(std::string_view name, std::string_view value) { return key(name).string(value); }
  Json& field(std::string_view name, const char* value) {
    return key(name).string(std::string_view(value));
  }
  Json& count(std::string_view name, std::uint64_t value) { return key(name).number(value); }
  Json& flag(std::string_view name, bool value) { return key(name).boolean(value); }
  // The text, with one line end; everything opened must be ended.
  std::string text() const { return text_ + "\n"; }

 private:
  Json& open(char begin, char end);
  void comma();
  std::string text_;
  std::string closers_;
  bool need_comma_ = false;
};

std::string age_text(TimePoint then, TimePoint now);  // "5m", "3h", "2d"
std::string time_text(TimePoint when);                // "2026-11-22 01:10:00Z"
std::string bytes_text(std::uint64_t octets);         // "1.2M", for people

}  // namespace bsmtp::mda::ctl
