#include "common/mail/header.h"

#include <algorithm>

#include "common/base/text.h"

namespace bsmtp::mail {
namespace {

// `line` without its LF or CRLF.
std::string_view without_end(std::string_view line) {
  if (!line.empty() && line.back() == '\n') {
    line.remove_suffix(1);
    if (!line.empty() && line.back() == '\r') {
      line.remove_suffix(1);
    }
  }
  return line;
}

std::string_view without_dot(std::string_view line, bool stuffed) {
  if (stuffed && !line.empty() && line[0] == '.') {
    line.remove_prefix(1);
  }
  return line;
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// An mbox line that programs leave on top; MTAs do not take it for the end of the header.
bool is_from_line(std::string_view line) {
  return line.starts_with("From ") || line.starts_with(">From ");
}

bool skip_comment(std::string_view& s) {
  int depth = 0;
  while (!s.empty()) {
    const char c = s[0];
    s.remove_prefix(c == '\\' && s.size() > 1 ? 2 : 1);
    if (c == '(') {
      ++depth;
    } else if (c == ')' && --depth == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::size_t field_name_length(std::string_view line) {
  std::size_t n = 0;
  while (n < line.size() && line[n] > ' ' && line[n] < 0x7F && line[n] != ':') {
    ++n;
  }
  std::size_t colon = n;
  while (colon < line.size() && is_blank(line[colon])) {
    ++colon;
  }
  const bool field = n > 0 && colon < line.size() && line[colon] == ':';
  return field ? n : std::string_view::npos;
}

// ---- HeaderScanner

std::string received_id(std::string_view value) {
  constexpr std::size_t kLongest = 100;
  int depth = 0;
  bool next = false;
  for (const std::string_view word : split_blank(value)) {
    const bool outside = depth == 0 && !word.starts_with('(');
    if (outside && next) {
      const std::string_view id = word.substr(0, word.find(';'));
      const bool plain =
          !id.empty() && id.size() <= kLongest && std::all_of(id.begin(), id.end(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                   c == '-' || c == '_' || c == '.';
          });
      return plain ? std::string(id) : std::string();
    }
    next = outside && iequals(word, "id");
    for (const char c : word) {
      depth += c == '(' ? 1 : c == ')' && depth > 0 ? -1 : 0;
    }
  }
  return "";
}

HeaderScanner::HeaderScanner(Options options) : options_(std::move(options)) {}

bool HeaderScanner::wanted(std::string_view name) const {
  return options_.keep.empty() ||
         std::any_of(options_.keep.begin(), options_.keep.end(),
                     [&](const std::string& keep) { return iequals(keep, name); });
}

const HeaderField* HeaderScanner::find(std::string_view name) const {
  for (const HeaderField& field : fields_) {
    if (iequals(field.name, name)) return &field;
  }
  return nullptr;
}

std::size_t HeaderScanner::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(fields_.begin(), fields_.end(),
                    [&](const HeaderField& field) { return iequals(field.name, name); }));
}

Status HeaderScanner::stop_at_limit(const char* what) {
  over_limit_ = true;
  done_ = true;
  end_field();
  if (!options_.strict) return Status::ok();
  return Status::permanent("5.6.0", std::string("a header block has more than ") + what);
}

void HeaderScanner::end_field() {
  if (!in_field_) return;
  in_field_ = false;
  const std::string_view name = std::string_view(field_).substr(0, field_name_length(field_));
  const std::string_view value = trim(std::string_view(field_).substr(field_.find(':') + 1));
  if (iequals(name, "Received")) {
    ++received_;
    const bool own =
        !options_.own_mark.empty() && value.find(options_.own_mark) != std::string_view::npos;
    own_received_ += own ? 1 : 0;
  }
  if (wanted(name)) {
    fields_.push_back({std::string(name), std::string(value)});
  }
  field_.clear();
}

Status HeaderScanner::take_line(std::string_view raw) {
  const std::string_view line = without_dot(without_end(raw), options_.stuffed);
  const bool first = std::exchange(first_line_, false);
  const bool continuation = !line.empty() && is_blank(line[0]) && in_field_;
  const bool skipped = first && is_from_line(line);
  const bool field = !continuation && !skipped && field_name_length(line) != std::string_view::npos;
  if (!line.empty() && !continuation && !skipped && !field) {
    junk_ = true;
    done_ = true;
    end_field();
    return Status::ok();
  }
  block_octets_ += raw.size();
  if (continuation) {
    field_ += line;
    return Status::ok();
  }
  end_field();
  done_ = line.empty();
  if (field) {
    if (field_count_ == options_.limits.fields) {
      return stop_at_limit((std::to_string(options_.limits.fields) + " fields").c_str());
    }
    ++field_count_;
    field_ = line;
    in_field_ = true;
  }
  return Status::ok();
}

Status HeaderScanner::write(std::string_view data) {
  while (!data.empty() && !done_) {
    const std::size_t nl = data.find('\n');
    const std::string_view part = data.substr(0, nl == std::string_view::npos ? nl : nl + 1);
    if (block_octets_ + line_.size() + part.size() > options_.limits.octets) {
      return stop_at_limit((std::to_string(options_.limits.octets) + " octets").c_str());
    }
    data.remove_prefix(part.size());
    if (nl == std::string_view::npos) {
      line_ += part;
      return Status::ok();
    }
    if (line_.empty()) {
      TRY(take_line(part));
      continue;
    }
    line_ += part;
    const std::string line = std::exchange(line_, {});
    TRY(take_line(line));
  }
  return Status::ok();
}

Status HeaderScanner::finish() {
  if (!done_ && !line_.empty()) {
    const std::string line = std::exchange(line_, {});
    TRY(take_line(line));
  }
  end_field();
  done_ = true;
  return Status::ok();
}

// ---- HeaderFilter

HeaderFilter::Kind HeaderFilter::classify(std::string_view raw_line) const {
  const std::string_view line = without_dot(without_end(raw_line), stuffed_);
  if (line.empty()) return Kind::kBody;
  if (is_blank(line[0]) && in_field_) return Kind::kContinuation;
  if (first_line_ && is_from_line(line)) return Kind::kFromLine;
  return field_name_length(line) != std::string_view::npos ? Kind::kField : Kind::kBody;
}

// Decides the field in held_.
Status HeaderFilter::decide(bool complete) {
  if (mode_ != Mode::kCollect) return Status::ok();
  std::string text;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const std::size_t nl = rest.find('\n');
    const std::string_view line = rest.substr(0, nl == std::string_view::npos ? nl : nl + 1);
    text += without_dot(without_end(line), stuffed_);
    rest.remove_prefix(line.size());
  }
  const std::string_view name = std::string_view(text).substr(0, field_name_length(text));
  const std::string_view value = trim(std::string_view(text).substr(text.find(':') + 1));
  const std::string held = std::exchange(held_, {});
  if (remove_(name, value, complete)) {
    mode_ = Mode::kDrop;
    ++removed_;
    return Status::ok();
  }
  mode_ = Mode::kPass;
  return next_.write(held);
}

Status HeaderFilter::route(std::string_view raw) {
  switch (mode_) {
    case Mode::kDrop:
      return Status::ok();
    case Mode::kPass:
      return next_.write(raw);
    case Mode::kCollect:
      held_ += raw;
  }
  return held_.size() >= kFieldPrefix ? decide(false) : Status::ok();
}

Status HeaderFilter::begin_line(std::string_view raw) {
  const Kind kind = classify(raw);
  first_line_ = false;
  if (kind != Kind::kContinuation) {
    TRY(decide(true));
    in_field_ = kind == Kind::kField;
    mode_ = in_field_ ? Mode::kCollect : Mode::kPass;
    in_body_ = kind == Kind::kBody;
  }
  return route(raw);
}

// A line of any length: what stands in line_ is classified when the line or the buffer is full.
Status HeaderFilter::take_part(std::string_view part, bool ends_line) {
  if (line_known_) {
    line_known_ = !ends_line;
    return route(part);
  }
  if (line_.empty() && ends_line) return begin_line(part);
  line_ += part;
  if (!ends_line && line_.size() < kFieldPrefix) return Status::ok();
  line_known_ = !ends_line;
  const std::string line = std::exchange(line_, {});
  return begin_line(line);
}

Status HeaderFilter::write(std::string_view data) {
  while (!data.empty() && !in_body_) {
    const std::size_t nl = data.find('\n');
    // Cut so that memory stays bounded and the result does not depend on the input's cutting.
    const std::size_t room = line_known_ ? kFieldPrefix : kFieldPrefix - line_.size();
    const std::size_t n = std::min({nl == std::string_view::npos ? data.size() : nl + 1, room});
    TRY(take_part(data.substr(0, n), n == nl + 1));
    data.remove_prefix(n);
  }
  return data.empty() ? Status::ok() : next_.write(data);
}

Status HeaderFilter::finish() {
  if (!line_.empty()) {
    const std::string line = std::exchange(line_, {});
    TRY(begin_line(line));
  }
  return decide(true);
}

// ---- Authentication-Results

bool claims_authserv_id(std::string_view value, bool complete,
                        const std::vector<std::string>& ids) {
  for (;;) {  // [CFWS]
    value = trim(value);
    if (value.empty() || value[0] != '(') break;
    if (!skip_comment(value)) return true;
  }
  std::string id;
  std::size_t i = 0;
  if (!value.empty() && value[0] == '"') {
    for (i = 1; i < value.size() && value[i] != '"'; ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) {
        ++i;
      }
      id += value[i];
    }
    if (i == value.size()) return true;  // the quote does not close
    ++i;
  } else {
    i = std::min(value.find_first_of(" \t;(/\r\n"), value.size());
    id = value.substr(0, i);
  }
  if (id.empty() || (i == value.size() && !complete)) return true;
  return std::any_of(ids.begin(), ids.end(),
                     [&](const std::string& own) { return iequals(own, id); });
}

HeaderFilter::Remove remove_authentication_results(std::vector<std::string> ids) {
  return [ids = std::move(ids)](std::string_view name, std::string_view value, bool complete) {
    return iequals(name, "Authentication-Results") && claims_authserv_id(value, complete, ids);
  };
}

}  // namespace bsmtp::mail
