// Lines of mail text, block by block: line-end normalising, dot-stuffing and its inverse, and
// the one strict end-of-text rule of the suite: exactly CRLF "." CRLF (RFC 5321 4.1.1.4, 4.5.2).
// What mail cannot carry (NUL, CR not before LF, LF not after CR) is refused with 5.6.1, never
// repaired: differing readings of it are how SMTP smuggling works (CVE-2023-51764).
// All filters give the same output for any cutting of their input and keep at most 64 KiB.
// Threads: one object, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/base/stream.h"

namespace bsmtp::mail {

// Facts about text that has passed by; lines are counted without their ends.
struct TextFacts {
  std::uint64_t octets = 0;  // of the text as CRLF, not dot-stuffed: what SIZE= means
  std::uint64_t lines = 0;
  std::uint64_t longest_line = 0;
  bool has_8bit = false;
};

enum class LineEnds {
  kCrlf,    // CRLF only; a bare CR or LF is refused
  kLf,      // LF only; any CR is refused (an MTA's pipe agent writes this form)
  kDetect,  // whichever ends the first line, then only that
};

// The output side of the filters below: octets collect in one buffer that `next` gets in whole
// blocks of kBlockSize (what is left by flush()), so that a filter costs one write per block and
// not per line, and a file is written in whole pages.
class BlockBuffer {
 public:
  static constexpr std::size_t kMaxRoom = 32768;

  explicit BlockBuffer(Sink& next)
      : next_(next), buffer_(std::make_unique_for_overwrite<char[]>(kBlockSize + kMaxRoom)) {}
  // Room for `octets` (at most kMaxRoom) more; commit() what was used of it.
  char* room(std::size_t octets) {
    BSMTP_CHECK(octets <= kMaxRoom);
    return buffer_.get() + used_;
  }
  Status commit(std::size_t octets) {
    used_ += octets;
    return used_ >= kBlockSize ? write_block() : Status::ok();
  }
  Status flush();

 private:
  Status write_block();

  Sink& next_;
  std::unique_ptr<char[]> buffer_;  // NOLINT(*-avoid-c-arrays): is not to be filled with zeros
  std::size_t used_ = 0;            // below kBlockSize between calls
};

// Text in, dot-stuffed CRLF text out. A missing last line end is added. finish() writes what
// is left and, unless told otherwise, the final "." CRLF; it does not finish `next`.
class TextStuffer final : public Sink {
 public:
  struct Options {
    LineEnds input = LineEnds::kDetect;
    bool end_dot = true;
  };
  TextStuffer(Sink& next, Options options) : out_(next), options_(options), ends_(options.input) {}
  explicit TextStuffer(Sink& next) : TextStuffer(next, Options()) {}
  // Writes `octets` as they are: what stands before the text (commands of a transaction). Before
  // the first write() only.
  Status lead(std::string_view octets);
  // Permanent 5.6.1 for NUL, bare CR, bare LF or mixed line ends; then every later call fails
  // the same way. Failures of `next` are passed on.
  Status write(std::string_view data) override;
  Status finish() override;
  const TextFacts& facts() const { return facts_; }

 private:
  Status write_block(std::string_view data);
  Status fail(std::string_view what);
  char* convert_lf(std::string_view data, char* out);
  // `crs`: how many CRs data holds. nullptr when line ends are not CRLF throughout; `what` says
  // why.
  char* convert_crlf(std::string_view data, std::size_t crs, char* out, std::string_view& what);
  void end_line();

  BlockBuffer out_;
  Options options_;
  LineEnds ends_;
  TextFacts facts_;
  Status failure_;
  std::uint64_t line_octets_ = 0;  // of the unfinished line
  bool at_line_start_ = true;
  bool pending_cr_ = false;
};

// Finds the end of dot-stuffed CRLF text (SMTP DATA, a batch, an item). Feed it from the octet
// after "DATA" CRLF and its 354.
class TextEndScanner {
 public:
  // Scans up to the end of the text. Text octets go to `out` exactly as they came (still
  // stuffed), the "." CRLF of the end does not. At most 3 octets are held back between calls.
  // Returns how many octets of `data` were consumed: all of them unless done().
  Result<std::size_t> feed(std::string_view data, Sink& out);
  bool done() const { return position_ == Position::kEnd; }
  // What was fed so far is empty or ends in CRLF: an end dot may follow.
  bool at_line_start() const { return position_ == Position::kLineStart; }
  // Not ok (5.6.1) from the first NUL, bare CR or bare LF on. Scanning goes on as if it were
  // ordinary text, so a server stays in step and answers after the true end; nothing that
  // followed such an octet may be used.
  const Status& violation() const { return violation_; }
  // Facts without stuffing dots; complete when done().
  const TextFacts& facts() const { return facts_; }

 private:
  enum class Position { kLineStart, kInLine, kCr, kDot, kDotCr, kEnd };
  void violate(std::string_view what);
  void end_line();
  Status slow_octet(char c, Sink& out);
  Result<std::size_t> feed_block(std::string_view data, Sink& out);
  const char* fast_lines(const char* p, const char* end, std::size_t& line_crs);
  void note_content(std::string_view text, std::size_t line_crs);

  Position position_ = Position::kLineStart;
  Status violation_;
  TextFacts facts_;
  std::uint64_t line_octets_ = 0;
};

// Dot-stuffed CRLF text (without the end dot) in, plain text out: one leading dot of each line
// is dropped, all else passes. Does not check line ends; use it behind a TextEndScanner.
class Unstuffer final : public Sink {
 public:
  explicit Unstuffer(Sink& next) : next_(next) {}
  Status write(std::string_view data) override;

 private:
  Sink& next_;
  enum class Before { kLineStart, kOther, kCr };
  Before before_ = Before::kLineStart;
};

// CRLF or LF in (a lone CR is kept), CRLF out; used to spool a foreign parcel in its canonical
// form. Never fails by itself. finish() ends an unfinished last line.
class CrlfNormaliser final : public Sink {
 public:
  explicit CrlfNormaliser(Sink& next) : out_(next) {}
  Status write(std::string_view data) override;
  Status finish() override;

 private:
  BlockBuffer out_;
  bool last_was_cr_ = false;
  bool line_open_ = false;
};

// Reads lines of at most `max_line` octets from a Source. Both CRLF and LF end a line unless
// strict_crlf; a longer line is permanent 5.5.6, a last line without its end is returned as a
// line with terminated() false.
class LineReader {
 public:
  LineReader(Source& source, std::size_t max_line, bool strict_crlf = false)
      : source_(source), max_line_(max_line), strict_crlf_(strict_crlf) {}
  // False at the end of the source. `line` has no line end and is valid until the next call.
  Result<bool> next(std::string_view& line);
  bool terminated() const { return terminated_; }
  // Octets of the source that stood before the next unread line.
  std::uint64_t offset() const { return offset_; }
  // What was read from the source but not yet returned; reading on from the source itself
  // continues after it. Valid until the next call.
  std::string_view buffered() const { return std::string_view(buffer_).substr(begin_); }

 private:
  Source& source_;
  std::size_t max_line_;
  bool strict_crlf_;
  bool terminated_ = true;
  bool at_end_ = false;
  std::string buffer_;
  std::size_t begin_ = 0;  // of the next line in buffer_
  std::uint64_t offset_ = 0;
};

}  // namespace bsmtp::mail
