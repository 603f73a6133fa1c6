#include "common/spool/text_filter.h"

#include <algorithm>
#include <cstring>

#include "common/base/text.h"

namespace bsmtp::spool {
namespace {

constexpr std::string_view kCrLf = "\r\n";
// Enough of a Received field to see its "by" and "with" clauses behind a long "from" clause.
constexpr std::size_t kFieldStart = 2048;

Status refuse(std::string_view what) {
  return Status::permanent("5.6.1",
                           str_cat({"message has ", what, ", which mail cannot carry unchanged"}));
}

Status loop(std::string_view what) {
  return Status::permanent("5.4.6", str_cat({"mail loop: ", what}));
}

std::size_t find(std::string_view s, char c) {
  const void* at = s.empty() ? nullptr : std::memchr(s.data(), c, s.size());
  return at == nullptr ? std::string_view::npos
                       : static_cast<std::size_t>(static_cast<const char*>(at) - s.data());
}

std::string_view without_end(std::string_view token) {
  while (!token.empty() && (token.back() == ';' || token.back() == '.')) {
    token.remove_suffix(1);
  }
  return token;
}

}  // namespace

Status TextFilter::write(std::string_view data) {
  if (find(data, '\0') != std::string_view::npos) {
    return refuse("a NUL octet");
  }
  while (!data.empty()) {
    const std::size_t lf = find(data, '\n');
    const bool ends = lf != std::string_view::npos;
    std::string_view part = data.substr(0, lf);
    if (pending_cr_ && !part.empty()) {
      return refuse("a carriage return that ends no line");
    }
    bool cr = pending_cr_;
    pending_cr_ = false;
    if (part.ends_with('\r')) {
      cr = true;
      part.remove_suffix(1);
    }
    if (find(part, '\r') != std::string_view::npos) {
      return refuse("a carriage return that ends no line");
    }
    if (ends) {
      TRY(take_line_end(cr));
    } else {
      pending_cr_ = cr;
    }
    TRY(put(part, ends));
    if (!ends) {
      return Status::ok();
    }
    data.remove_prefix(lf + 1);
  }
  return Status::ok();
}

// Whichever line end comes first is the message's; the other one would be data.
Status TextFilter::take_line_end(bool cr) {
  const LineEnd seen = cr ? LineEnd::kCrLf : LineEnd::kLf;
  if (line_end_ == LineEnd::kUnknown) {
    line_end_ = seen;
  }
  if (line_end_ == seen) {
    return Status::ok();
  }
  return refuse(cr ? "a carriage return at the end of some of its lines"
                   : "a line feed without its carriage return");
}

Status TextFilter::put(std::string_view part, bool ends) {
  if (in_header_) {
    TRY(header_part(part, ends));
  }
  if (line_empty_ && part.starts_with('.')) {
    TRY(next_.write("."));
  }
  line_empty_ = line_empty_ && part.empty();
  octets_ += part.size();
  if (!part.empty()) {
    TRY(next_.write(part));
  }
  if (ends) {
    line_empty_ = true;
    octets_ += kCrLf.size();
    return next_.write(kCrLf);
  }
  return Status::ok();
}

Status TextFilter::header_part(std::string_view part, bool ends) {
  if (line_empty_ && part.empty()) {
    if (ends) {  // the empty line behind the header
      TRY(end_field());
      in_header_ = false;
    }
    return Status::ok();
  }
  if (line_empty_) {
    if (part.front() != ' ' && part.front() != '\t') {
      TRY(end_field());
    }
  }
  field_ += part.substr(0, kFieldStart - std::min(kFieldStart, field_.size()));
  if (ends && field_.size() < kFieldStart) {
    field_ += ' ';
  }
  return Status::ok();
}

Status TextFilter::end_field() {
  const std::string field = std::move(field_);
  field_.clear();
  const std::size_t colon = field.find(':');
  if (colon == std::string::npos ||
      !iequals(trim(std::string_view(field).substr(0, colon)), "received")) {
    return Status::ok();
  }
  if (++received_ > options_.max_received) {
    return loop("more than " + std::to_string(options_.max_received) + " Received fields");
  }
  bool by_us = false;
  bool with_bsmtp = false;
  const auto words = split_blank(std::string_view(field).substr(colon + 1));
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string_view next = without_end(words[i + 1]);
    by_us = by_us || (iequals(words[i], "by") && !options_.own_host.empty() &&
                      iequals(next, options_.own_host));
    with_bsmtp = with_bsmtp || (iequals(words[i], "with") && iequals(next, "bsmtp"));
  }
  if (by_us && with_bsmtp && ++own_received_ >= options_.max_own_received) {
    return loop("came through this gateway's tunnel " + std::to_string(own_received_) + " times");
  }
  return Status::ok();
}

Status TextFilter::finish() {
  if (pending_cr_) {
    return refuse("a carriage return that ends no line");
  }
  if (in_header_) {
    TRY(end_field());
    in_header_ = false;
  }
  return line_empty_ ? Status::ok() : put({}, true);
}

}  // namespace bsmtp::spool
