#include "common/mail/line.h"

#include <algorithm>
#include <cstring>

#include "common/mail/scan.h"

namespace bsmtp::mail {

using namespace scan;

static_assert(BlockBuffer::kMaxRoom >= 2 * kStep);

Status BlockBuffer::flush() {
  if (used_ == 0) return Status::ok();
  const std::size_t used = used_;
  used_ = 0;
  return next_.write(std::string_view(buffer_.get(), used));
}

Status BlockBuffer::write_block() {
  const Status status = next_.write(std::string_view(buffer_.get(), kBlockSize));
  used_ -= kBlockSize;
  std::memmove(buffer_.get(), buffer_.get() + kBlockSize, used_);
  return status;
}

// ---- TextStuffer

Status TextStuffer::fail(std::string_view what) {
  failure_ = Status::permanent("5.6.1", refusal(what));
  return failure_;
}

void TextStuffer::end_line() {
  facts_.longest_line = std::max(facts_.longest_line, line_octets_);
  facts_.octets += line_octets_ + 2;
  ++facts_.lines;
  line_octets_ = 0;
  at_line_start_ = true;
}

Status TextStuffer::lead(std::string_view octets) {
  while (!octets.empty()) {
    const std::size_t n = octets.copy(out_.room(kStep), kStep);
    TRY(out_.commit(n));
    octets.remove_prefix(n);
  }
  return Status::ok();
}

Status TextStuffer::write(std::string_view data) {
  if (!failure_.is_ok()) return failure_;
  while (!data.empty()) {
    TRY(write_block(data.substr(0, kStep)));
    data.remove_prefix(std::min(kStep, data.size()));
  }
  return Status::ok();
}

Status TextStuffer::write_block(std::string_view data) {
  const char* const begin = data.data();
  const char* const end = begin + data.size();
  const BlockFacts block = inspect(data);
  if (block.nul) return fail(kNul);
  facts_.has_8bit = facts_.has_8bit || block.high;
  if (ends_ == LineEnds::kDetect) {
    if (const char* nl = find(begin, end, '\n')) {
      const bool crlf = nl == begin ? pending_cr_ : nl[-1] == '\r';
      ends_ = crlf ? LineEnds::kCrlf : LineEnds::kLf;
    }
  }
  // Worst case "\n.\n.": every octet becomes two.
  char* const out = out_.room(2 * data.size());
  char* out_end = nullptr;
  if (ends_ == LineEnds::kLf) {
    if (pending_cr_ || block.crs != 0) return fail(kMixed);
    out_end = convert_lf(data, out);
  } else {
    std::string_view what;
    out_end = convert_crlf(data, block.crs, out, what);
    if (out_end == nullptr) return fail(what);
  }
  return out_.commit(static_cast<std::size_t>(out_end - out));
}

char* TextStuffer::convert_lf(std::string_view data, char* out) {
  const char* p = data.data();
  const char* const end = p + data.size();
  while (p < end) {
    const char* const nl = find(p, end, '\n');
    const auto n = static_cast<std::size_t>((nl != nullptr ? nl : end) - p);
    if (at_line_start_ && *p == '.') {
      *out++ = '.';
    }
    std::memcpy(out, p, n);
    out += n;
    line_octets_ += n;
    if (nl == nullptr) {
      at_line_start_ = false;
      break;
    }
    *out++ = '\r';
    *out++ = '\n';
    end_line();
    p = nl + 1;
  }
  return out;
}

char* TextStuffer::convert_crlf(std::string_view data, std::size_t crs, char* out,
                                std::string_view& what) {
  const char* p = data.data();
  const char* const end = p + data.size();
  if (pending_cr_) {
    what = kBareCr;
    if (*p != '\n') return nullptr;
    *out++ = *p++;
    pending_cr_ = false;
    end_line();
  }
  while (p < end) {
    const char* const nl = find(p, end, '\n');
    const char* text_end = end;
    if (nl != nullptr) {
      what = kBareLf;
      if (nl == p || nl[-1] != '\r') return nullptr;
      text_end = nl - 1;
      --crs;
    } else if (end[-1] == '\r') {
      text_end = end - 1;
      pending_cr_ = true;
      --crs;
    }
    if (at_line_start_ && *p == '.') {
      *out++ = '.';
    }
    line_octets_ += static_cast<std::uint64_t>(text_end - p);
    at_line_start_ = false;
    const char* const take_end = nl != nullptr ? nl + 1 : end;
    std::memcpy(out, p, static_cast<std::size_t>(take_end - p));
    out += take_end - p;
    p = take_end;
    if (nl != nullptr) {
      end_line();
    }
  }
  what = kBareCr;
  return crs == 0 ? out : nullptr;  // one that ends no line is left over
}

Status TextStuffer::finish() {
  if (!failure_.is_ok()) return failure_;
  if (pending_cr_) return fail(kBareCr);
  char* const out = out_.room(5);
  std::size_t n = 0;
  if (!at_line_start_) {
    out[n++] = '\r';
    out[n++] = '\n';
    end_line();
  }
  if (options_.end_dot) {
    n += std::string_view(".\r\n").copy(out + n, 3);
  }
  TRY(out_.commit(n));
  return out_.flush();
}

// ---- Unstuffer

Status Unstuffer::write(std::string_view data) {
  const char* const begin = data.data();
  const char* const end = begin + data.size();
  const char* run = begin;
  const char* from = begin;
  while (from < end) {
    const char* const dot = find(from, end, '.');
    if (dot == nullptr) break;
    bool drop = false;
    if (dot - begin >= 2) {
      drop = dot[-1] == '\n' && dot[-2] == '\r';
    } else if (dot == begin) {
      drop = before_ == Before::kLineStart;
    } else {
      drop = dot[-1] == '\n' && before_ == Before::kCr;
    }
    if (drop) {
      if (dot > run) {
        TRY(next_.write(std::string_view(run, static_cast<std::size_t>(dot - run))));
      }
      run = dot + 1;
    }
    from = dot + 1;
  }
  if (begin == end) return Status::ok();
  const bool ends_line =
      end[-1] == '\n' && (end - begin >= 2 ? end[-2] == '\r' : before_ == Before::kCr);
  before_ = ends_line ? Before::kLineStart : end[-1] == '\r' ? Before::kCr : Before::kOther;
  return run < end ? next_.write(std::string_view(run, static_cast<std::size_t>(end - run)))
                   : Status::ok();
}

// ---- CrlfNormaliser

Status CrlfNormaliser::write(std::string_view data) {
  while (!data.empty()) {
    const std::string_view step = data.substr(0, kStep);
    data.remove_prefix(step.size());
    const char* p = step.data();
    const char* const end = p + step.size();
    char* const out = out_.room(2 * step.size());
    char* o = out;
    while (p < end) {
      const char* const nl = find(p, end, '\n');
      const char* const text_end = nl != nullptr ? nl : end;
      const auto n = static_cast<std::size_t>(text_end - p);
      std::memcpy(o, p, n);
      o += n;
      const bool has_cr = n > 0 ? text_end[-1] == '\r' : last_was_cr_;
      if (nl == nullptr) {
        last_was_cr_ = has_cr;
        line_open_ = true;
        break;
      }
      if (!has_cr) {
        *o++ = '\r';
      }
      *o++ = '\n';
      last_was_cr_ = false;
      line_open_ = false;
      p = nl + 1;
    }
    TRY(out_.commit(static_cast<std::size_t>(o - out)));
  }
  return Status::ok();
}

Status CrlfNormaliser::finish() {
  if (line_open_) {
    const std::string_view rest = last_was_cr_ ? "\n" : "\r\n";
    std::memcpy(out_.room(rest.size()), rest.data(), rest.size());
    TRY(out_.commit(rest.size()));
  }
  return out_.flush();
}

// ---- LineReader

Result<bool> LineReader::next(std::string_view& line) {
  std::size_t searched = begin_;
  for (;;) {
    const std::size_t nl = buffer_.find('\n', searched);
    if (nl != std::string::npos) {
      const bool crlf = nl > begin_ && buffer_[nl - 1] == '\r';
      if (strict_crlf_ && !crlf) {
        return Status::permanent("5.6.0", "a line ends in LF alone, CRLF is needed");
      }
      line = std::string_view(buffer_).substr(begin_, nl - begin_ - (crlf ? 1 : 0));
      if (line.size() > max_line_) break;
      offset_ += nl + 1 - begin_;
      begin_ = nl + 1;
      terminated_ = true;
      return true;
    }
    if (buffer_.size() - begin_ > max_line_ + 1) break;
    if (at_end_) {
      terminated_ = false;
      line = std::string_view(buffer_).substr(begin_);
      if (line.size() > max_line_) break;
      offset_ += line.size();
      begin_ = buffer_.size();
      return !line.empty();
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    constexpr std::size_t kRead = 8192;
    buffer_.resize(searched + kRead);
    auto got = source_.read(std::span<char>(buffer_.data() + searched, kRead));
    buffer_.resize(searched + (got.is_ok() ? *got : 0));
    TRY(got.status());
    at_end_ = *got == 0;
  }
  return Status::permanent("5.5.6",
                           "a line is longer than " + std::to_string(max_line_) + " octets");
}

}  // namespace bsmtp::mail
