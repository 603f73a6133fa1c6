#include "common/mail/mime.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/base/text.h"

namespace bsmtp::mail {
namespace {

// A delimiter line: "--" boundary, "--" and as many blanks as a careless gateway may add.
constexpr std::size_t kMaxDelimiterLine = 1024;

Status malformed(std::string_view what, std::string_view value) {
  return Status::permanent("5.6.0", str_cat({what, ": \"", printable(value, 200), "\""}));
}

// RFC 2045 5.1: any ASCII character but controls, blank and tspecials.
bool is_token_char(char c) {
  return c > ' ' && c < 0x7F &&
         std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool accept(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Blanks and nested comments; false when a comment does not close.
  bool skip_cfws() {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        rest_.remove_prefix(1);
      } else if (c != '(') {
        return true;
      } else if (!skip_comment()) {
        return false;
      }
    }
    return true;
  }
  std::string_view token(bool with_slash = false) {
    std::size_t n = 0;
    while (n < rest_.size() && (is_token_char(rest_[n]) || (with_slash && rest_[n] == '/'))) {
      ++n;
    }
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  // After the opening quote.
  bool quoted(std::string& out) {
    while (!rest_.empty()) {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c == '\\') {
        if (rest_.empty()) return false;
        c = rest_[0];
        rest_.remove_prefix(1);
      }
      out += c;
    }
    return false;
  }

 private:
  bool skip_comment() {
    int depth = 0;
    while (!rest_.empty()) {
      const char c = rest_[0];
      rest_.remove_prefix(c == '\\' && rest_.size() > 1 ? 2 : 1);
      if (c == '(') {
        ++depth;
      } else if (c == ')' && --depth == 0) {
        return true;
      }
    }
    return false;
  }

  std::string_view rest_;
};

// One "name=value" behind a ';'.
bool parse_param(Cursor& cursor, std::pair<std::string, std::string>& param) {
  param.first = to_lower(cursor.token());
  if (param.first.empty() || !cursor.skip_cfws() || !cursor.accept('=') || !cursor.skip_cfws()) {
    return false;
  }
  if (cursor.accept('"')) return cursor.quoted(param.second);
  param.second = cursor.token(true);
  return !param.second.empty();
}

HeaderScanner::Options scanner_options(const HeaderLimits& limits) {
  HeaderScanner::Options options;
  options.limits = limits;
  return options;
}

}  // namespace

bool MediaType::is(std::string_view full) const {
  return full.size() == type.size() + 1 + subtype.size() && full.starts_with(type) &&
         full[type.size()] == '/' && full.ends_with(subtype);
}

const std::string* MediaType::param(std::string_view name) const {
  for (const auto& [key, value] : params) {
    if (iequals(key, name)) return &value;
  }
  return nullptr;
}

Result<MediaType> parse_media_type(std::string_view value, std::size_t max_params) {
  constexpr std::string_view kWhat = "malformed Content-Type";
  Cursor cursor(value);
  MediaType out;
  if (!cursor.skip_cfws()) return malformed(kWhat, value);
  out.type = to_lower(cursor.token());
  if (out.type.empty() || !cursor.skip_cfws() || !cursor.accept('/') || !cursor.skip_cfws()) {
    return malformed(kWhat, value);
  }
  out.subtype = to_lower(cursor.token());
  if (out.subtype.empty() || !cursor.skip_cfws()) return malformed(kWhat, value);
  while (!cursor.at_end()) {
    if (!cursor.accept(';') || !cursor.skip_cfws()) return malformed(kWhat, value);
    if (cursor.at_end()) break;
    std::pair<std::string, std::string> param;
    if (!parse_param(cursor, param) || !cursor.skip_cfws()) return malformed(kWhat, value);
    if (out.param(param.first) != nullptr) {
      return malformed("duplicate parameter in Content-Type", value);
    }
    if (out.params.size() == max_params) {
      return malformed("too many parameters in Content-Type", value);
    }
    out.params.push_back(std::move(param));
  }
  return out;
}

Result<std::string> parse_transfer_encoding(std::string_view value) {
  Cursor cursor(value);
  const bool before = cursor.skip_cfws();
  const std::string_view token = cursor.token();
  if (!before || !cursor.skip_cfws() || !cursor.at_end()) {
    return malformed("malformed Content-Transfer-Encoding", value);
  }
  return token.empty() ? std::string("7bit") : to_lower(token);
}

std::string format_param_value(std::string_view value) {
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_token_char)) {
    return std::string(value);
  }
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out += '"';
}

bool is_boundary(std::string_view text) {
  constexpr std::string_view kChars =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=? ";
  return !text.empty() && text.size() <= kMaxBoundary && text.back() != ' ' &&
         text.find_first_not_of(kChars) == std::string_view::npos;
}

const HeaderField* EntityHeader::find(std::string_view name) const {
  for (const HeaderField& field : fields) {
    if (iequals(field.name, name)) return &field;
  }
  return nullptr;
}

std::size_t EntityHeader::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(fields.begin(), fields.end(),
                    [&](const HeaderField& field) { return iequals(field.name, name); }));
}

Result<EntityHeader> entity_header(const HeaderScanner& scanner) {
  if (scanner.ended_by_junk()) {
    return Status::permanent("5.6.0", "a line in a MIME header block is no header field");
  }
  EntityHeader out;
  out.octets = scanner.block_octets();
  out.fields = scanner.fields();
  out.content_type.type = "text";
  out.content_type.subtype = "plain";
  for (const HeaderField& field : out.fields) {
    if (!istarts_with(field.name, "Content-")) continue;
    if (out.count(field.name) > 1) return malformed("a header field stands twice", field.name);
    if (iequals(field.name, "Content-Type")) {
      out.has_content_type = true;
      TRY_ASSIGN(out.content_type, parse_media_type(field.value));
    } else if (iequals(field.name, "Content-Transfer-Encoding")) {
      TRY_ASSIGN(out.transfer_encoding, parse_transfer_encoding(field.value));
    }
  }
  return out;
}

Result<EntityHeader> read_entity_header(Source& source, const HeaderLimits& limits) {
  HeaderScanner scanner(scanner_options(limits));
  std::array<char, 4096> block;  // NOLINT: filled by read before use
  while (!scanner.done()) {
    TRY_ASSIGN(const std::size_t n, source.read(block));
    if (n == 0) {
      TRY(scanner.finish());
    } else {
      TRY(scanner.write(std::string_view(block.data(), n)));
    }
  }
  return entity_header(scanner);
}

// ---- Splitter

Splitter::Splitter(std::string boundary, MimeLimits limits, std::uint64_t base)
    : delimiter_("--" + std::move(boundary)), limits_(limits), offset_(base) {}

// Index of the first '-' on a line start, data.size() when there is none. Base64 holds no '-', so
// this passes a parcel at memory speed.
std::size_t Splitter::find_candidate(std::string_view data) const {
  for (std::size_t i = data.find('-'); i != std::string_view::npos; i = data.find('-', i + 1)) {
    const bool line_start = i >= 2   ? data[i - 1] == '\n' && data[i - 2] == '\r'
                            : i == 1 ? data[0] == '\n' && after_cr_
                                     : at_line_start_;
    if (line_start) return i;
  }
  return data.size();
}

// Octets that are no delimiter: they belong to the part at hand, or to nothing.
Status Splitter::pass(std::string_view data) {
  if (data.empty()) return Status::ok();
  offset_ += data.size();
  const std::size_t n = data.size();
  at_line_start_ = data[n - 1] == '\n' && (n >= 2 ? data[n - 2] == '\r' : after_cr_);
  after_cr_ = data[n - 1] == '\r';
  if (in_part_ && !header_.front().done()) {
    TRY(header_.front().write(data));
  }
  return Status::ok();
}

Status Splitter::end_part(std::uint64_t delimiter) {
  Part& part = parts_.back();
  if (delimiter < part.begin + 2) {
    return Status::permanent("5.6.0", "a multipart's delimiter follows another one directly");
  }
  part.end = delimiter - 2;
  part.next = delimiter;
  TRY(header_.front().finish());
  TRY_ASSIGN(part.header, entity_header(header_.front()));
  // The empty line of a part without body belongs to the delimiter.
  part.body = std::min(part.begin + part.header.octets, part.end);
  in_part_ = false;
  return Status::ok();
}

Status Splitter::delimiter_line() {
  std::string_view tail = line_;
  tail.remove_prefix(delimiter_.size());
  const bool closes = tail.starts_with("--");
  if (closes) {
    tail.remove_prefix(2);
  }
  if (!trim(tail).empty()) return malformed("text behind a multipart's boundary", line_);
  if (in_part_) {
    TRY(end_part(offset_));
  }
  offset_ += line_.size();
  line_.clear();
  at_line_start_ = true;
  after_cr_ = false;
  closed_ = closes;
  if (closes) return Status::ok();
  if (parts_.size() == limits_.parts) {
    return Status::permanent(
        "5.6.0", str_cat({"a multipart has more than ", std::to_string(limits_.parts), " parts"}));
  }
  in_part_ = true;
  Part part;
  part.begin = offset_;
  parts_.push_back(std::move(part));
  header_.clear();
  header_.emplace_back(scanner_options(limits_.header));
  return Status::ok();
}

// Collects a line that begins with '-' until it is known whether it is a delimiter.
Status Splitter::take_candidate(std::string_view& data) {
  const std::size_t nl = data.find('\n');
  const std::size_t need =
      line_.size() < delimiter_.size() ? delimiter_.size() - line_.size() : kMaxDelimiterLine;
  const std::size_t n = std::min({nl == std::string_view::npos ? data.size() : nl + 1, need});
  line_ += data.substr(0, n);
  data.remove_prefix(n);
  const std::size_t compare = std::min(line_.size(), delimiter_.size());
  if (std::string_view(line_).substr(0, compare) !=
      std::string_view(delimiter_).substr(0, compare)) {
    const std::string text = std::exchange(line_, {});
    return pass(text);
  }
  if (line_.size() > delimiter_.size() + kMaxDelimiterLine) {
    return malformed("text behind a multipart's boundary", line_);
  }
  return line_.back() == '\n' ? delimiter_line() : Status::ok();
}

Status Splitter::write(std::string_view data) {
  while (!data.empty() && !closed_) {
    if (line_.empty()) {
      const std::size_t n = find_candidate(data);
      TRY(pass(data.substr(0, n)));
      data.remove_prefix(n);
      if (data.empty()) break;
    }
    TRY(take_candidate(data));
  }
  return Status::ok();
}

Status Splitter::finish() {
  if (!closed_ && line_.size() >= delimiter_.size()) {
    TRY(delimiter_line());
  }
  if (!closed_) {
    return Status::permanent("5.6.0", "a multipart ends without its closing boundary");
  }
  return Status::ok();
}

Result<std::vector<Part>> split_multipart(Source& source, std::string_view boundary,
                                          const MimeLimits& limits, std::uint64_t base) {
  if (!is_boundary(boundary)) return malformed("not a multipart boundary", boundary);
  Splitter splitter(std::string(boundary), limits, base);
  TRY(copy(source, splitter).status());
  TRY(splitter.finish());
  return splitter.take_parts();
}

}  // namespace bsmtp::mail
