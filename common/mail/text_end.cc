// TextEndScanner of common/mail/line.h: the strict end-of-text rule.
#include <algorithm>

#include "common/mail/line.h"
#include "common/mail/scan.h"

namespace bsmtp::mail {

using namespace scan;

void TextEndScanner::violate(std::string_view what) {
  if (violation_.is_ok()) {
    violation_ = Status::permanent("5.6.1", refusal(what));
  }
}

void TextEndScanner::end_line() {
  facts_.longest_line = std::max(facts_.longest_line, line_octets_);
  facts_.octets += line_octets_ + 2;
  ++facts_.lines;
  line_octets_ = 0;
  position_ = Position::kLineStart;
}

// `line_crs`: how many CRs of the text end a line, or may still do so.
void TextEndScanner::note_content(std::string_view text, std::size_t line_crs) {
  const BlockFacts block = inspect(text);
  if (block.nul) {
    violate(kNul);
  }
  if (block.crs != line_crs) {
    violate(kBareCr);
  }
  facts_.has_8bit = facts_.has_8bit || block.high;
}

Result<std::size_t> TextEndScanner::feed(std::string_view data, Sink& out) {
  std::size_t consumed = 0;
  while (consumed < data.size() && !done()) {
    TRY_ASSIGN(const std::size_t n, feed_block(data.substr(consumed, kStep), out));
    consumed += n;
  }
  return consumed;
}

// One octet where a decision hangs over from the octets before it.
Status TextEndScanner::slow_octet(char c, Sink& out) {
  switch (position_) {
    case Position::kDot:  // the dot is held back
      if (c == '\r') {
        position_ = Position::kDotCr;
        return Status::ok();
      }
      position_ = Position::kInLine;
      TRY(out.write("."));
      return slow_octet(c, out);
    case Position::kDotCr:  // dot and CR are held back
      if (c == '\n') {
        position_ = Position::kEnd;
        return Status::ok();
      }
      violate(kBareCr);
      ++line_octets_;
      position_ = Position::kInLine;
      TRY(out.write(".\r"));
      return slow_octet(c, out);
    case Position::kCr:
      if (c == '\n') {
        end_line();
      } else {
        violate(kBareCr);
        ++line_octets_;
        position_ = Position::kInLine;
        return slow_octet(c, out);
      }
      break;
    default:
      if (c == '\n') {
        violate(kBareLf);
      }
      position_ = c == '\r' ? Position::kCr : Position::kInLine;
      line_octets_ += c == '\r' ? 0 : 1;
  }
  const std::string_view octet(&c, 1);
  note_content(octet, c == '\r' ? 1 : 0);
  return out.write(octet);
}

// Walks text from `p` (position kLineStart or kInLine) and returns where it stopped: at `end`, or
// at a dot on a line start that may be the end of the text. Counts the CRs that end lines.
const char* TextEndScanner::fast_lines(const char* p, const char* end, std::size_t& line_crs) {
  while (p < end) {
    if (position_ == Position::kLineStart && *p == '.') {
      if (end - p < 3 || (p[1] == '\r' && p[2] == '\n')) return p;
      ++p;  // the stuffing dot: text, but not counted
      position_ = Position::kInLine;
    }
    const char* const nl = find(p, end, '\n');
    const char* const line_end = nl != nullptr ? nl : end;
    const char* const text_end = line_end > p && line_end[-1] == '\r' ? line_end - 1 : line_end;
    line_crs += text_end != line_end ? 1 : 0;
    line_octets_ += static_cast<std::uint64_t>(text_end - p);
    if (nl == nullptr) {
      position_ = text_end == end ? Position::kInLine : Position::kCr;
      return end;
    }
    if (text_end == nl) {  // not a line end for the strict rule
      violate(kBareLf);
      ++line_octets_;
      position_ = Position::kInLine;
    } else {
      end_line();
    }
    p = nl + 1;
  }
  return p;
}

Result<std::size_t> TextEndScanner::feed_block(std::string_view data, Sink& out) {
  const char* const begin = data.data();
  const char* const end = begin + data.size();
  const char* p = begin;
  while (p < end && !done()) {
    if (position_ != Position::kLineStart && position_ != Position::kInLine) {
      TRY(slow_octet(*p++, out));
      continue;
    }
    const char* const run = p;
    std::size_t line_crs = 0;
    p = fast_lines(p, end, line_crs);
    if (p > run) {
      const std::string_view text(run, static_cast<std::size_t>(p - run));
      note_content(text, line_crs);
      TRY(out.write(text));
    }
    if (p < end) {
      position_ = Position::kDot;
      ++p;
    }
  }
  return static_cast<std::size_t>(p - begin);
}

}  // namespace bsmtp::mail
