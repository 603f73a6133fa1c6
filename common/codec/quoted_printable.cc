#include "common/codec/quoted_printable.h"

#include <algorithm>

namespace bsmtp::codec {
namespace {

constexpr std::size_t kMaxLine = 998;  // RFC 5322 2.1.1; encoders keep to 76

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return -1;
}

}  // namespace

QuotedPrintableSource::QuotedPrintableSource(Source& from) : from_(from), in_(kBlockSize) {}

// `line` without its end; `end` is "\r\n", "\n", or "" for an unfinished last line.
Status QuotedPrintableSource::decode_line(std::string_view line, std::string_view end) {
  line = line.substr(0, line.find_last_not_of(" \t") + 1);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '=') {
      out_ += line[i];
      continue;
    }
    if (i + 1 == line.size()) {
      return Status::ok();  // soft line break
    }
    const int high = hex_value(line[i + 1]);
    const int low = i + 2 < line.size() ? hex_value(line[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Status::permanent("5.6.0", "quoted-printable data are damaged: bad escape");
    }
    out_ += static_cast<char>(high * 16 + low);
    i += 2;
  }
  out_ += end;
  return Status::ok();
}

Status QuotedPrintableSource::fill() {
  TRY_ASSIGN(const std::size_t got, from_.read(in_));
  at_end_ = got == 0;
  std::string_view data(in_.data(), got);
  while (!data.empty()) {
    const std::size_t eol = data.find('\n');
    line_ += data.substr(0, eol);
    if (line_.size() > kMaxLine + 1) {
      return Status::permanent("5.6.0", "quoted-printable data are damaged: line too long");
    }
    if (eol == std::string_view::npos) {
      break;
    }
    data.remove_prefix(eol + 1);
    const bool crlf = !line_.empty() && line_.back() == '\r';
    TRY(decode_line(std::string_view(line_).substr(0, line_.size() - (crlf ? 1 : 0)),
                    crlf ? "\r\n" : "\n"));
    line_.clear();
  }
  if (at_end_) {
    TRY(decode_line(line_, ""));
    line_.clear();
  }
  return Status::ok();
}

Result<std::size_t> QuotedPrintableSource::read(std::span<char> out) {
  while (out_pos_ == out_.size() && !at_end_) {
    out_.clear();
    out_pos_ = 0;
    TRY(fill());
  }
  const std::size_t now = std::min(out.size(), out_.size() - out_pos_);
  std::copy_n(out_.data() + out_pos_, now, out.data());
  out_pos_ += now;
  return now;
}

}  // namespace bsmtp::codec
