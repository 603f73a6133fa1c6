// Header blocks (RFC 5322 2.2), streaming and bounded: HeaderScanner finds and counts fields,
// HeaderFilter removes fields and passes every other octet unchanged. Both accept plain text and
// dot-stuffed text (then a line's stuffing dot is not part of it: ".Received:" would otherwise
// hide a field from us that the next reader sees). A block ends at the first empty line or at the
// first line that is no field, continuation or leading "From " line. Lines end in CRLF or LF.
// Same result for any cutting of the input. Threads: one object, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"

namespace bsmtp::mail {

struct HeaderLimits {
  std::size_t octets = 65536;  // of the whole block
  std::size_t fields = 200;
};

struct HeaderField {
  std::string name;   // as written
  std::string value;  // unfolded (line ends removed, blanks kept) and trimmed
};

// Queue id in the value of a Received field (RFC 5321 4.4, clause "id"): the first word after "id"
// outside comments. "" when there is none, or one that is no plain word of at most 100 letters,
// digits, "-", "_" or ".".
std::string received_id(std::string_view value);

class HeaderScanner final : public Sink {
 public:
  struct Options {
    HeaderLimits limits;
    // true: a block over the limits fails with 5.6.0. false: scanning stops quietly there,
    // over_limit() tells; for mail that is only looked at, not interpreted.
    bool strict = true;
    bool stuffed = false;
    // Fields to keep (any case); empty keeps all.
    std::vector<std::string> keep;
    // A Received field whose value contains this text was written by us; "" = none is.
    std::string own_mark;
  };
  explicit HeaderScanner(Options options);
  // Takes any part of the message; octets behind the header block are ignored.
  Status write(std::string_view data) override;
  // Ends the block at the end of the input, if nothing else has.
  Status finish() override;

  bool done() const { return done_; }
  bool over_limit() const { return over_limit_; }
  // Octets of the block with its empty line: where the body begins. Valid when done().
  std::uint64_t block_octets() const { return block_octets_; }
  // A line that is no field ended the block (it is the first line of the body).
  bool ended_by_junk() const { return junk_; }
  std::size_t field_count() const { return field_count_; }
  std::size_t received() const { return received_; }
  std::size_t own_received() const { return own_received_; }
  const std::vector<HeaderField>& fields() const { return fields_; }
  // The only field of that name: nullptr when absent; see count() for duplicates.
  const HeaderField* find(std::string_view name) const;
  std::size_t count(std::string_view name) const;

 private:
  Status take_line(std::string_view line);
  void end_field();
  Status stop_at_limit(const char* what);
  bool wanted(std::string_view name) const;

  Options options_;
  std::string line_;   // an unfinished line, cut at the block limit
  std::string field_;  // the unfinished field, unfolded
  bool in_field_ = false;
  bool done_ = false;
  bool over_limit_ = false;
  bool junk_ = false;
  bool first_line_ = true;
  std::uint64_t block_octets_ = 0;
  std::size_t field_count_ = 0;
  std::size_t received_ = 0;
  std::size_t own_received_ = 0;
  std::vector<HeaderField> fields_;
};

// Passes text on, except header fields that `remove` says to drop. `value` is unfolded and
// trimmed; of a field longer than kFieldPrefix only its beginning is shown and complete is false.
class HeaderFilter final : public Sink {
 public:
  static constexpr std::size_t kFieldPrefix = 16384;
  using Remove = std::function<bool(std::string_view name, std::string_view value, bool complete)>;
  HeaderFilter(Sink& next, bool stuffed, Remove remove)
      : next_(next), stuffed_(stuffed), remove_(std::move(remove)) {}
  Status write(std::string_view data) override;
  Status finish() override;
  std::size_t removed() const { return removed_; }

 private:
  enum class Mode { kCollect, kPass, kDrop };  // what happens to the field being read
  enum class Kind { kField, kContinuation, kFromLine, kBody };
  Kind classify(std::string_view raw_line) const;
  Status take_part(std::string_view part, bool ends_line);
  Status begin_line(std::string_view raw);
  Status route(std::string_view raw);
  Status decide(bool complete);

  Sink& next_;
  bool stuffed_;
  Remove remove_;
  Mode mode_ = Mode::kPass;
  std::string held_;  // raw octets of a field not yet decided
  std::string line_;  // raw octets of a line not yet classified
  bool in_field_ = false;
  bool line_known_ = false;  // the rest of this line goes where its beginning went
  bool in_body_ = false;
  bool first_line_ = true;
  std::size_t removed_ = 0;
};

// RFC 8601 5: true when this Authentication-Results value (trimmed) carries one of `ids` as its
// authserv-id, or when it cannot be told because the value is cut or malformed before it.
bool claims_authserv_id(std::string_view value, bool complete, const std::vector<std::string>& ids);
// The predicate for HeaderFilter that removes such fields.
HeaderFilter::Remove remove_authentication_results(std::vector<std::string> ids);

// One line of a raw header block without its end: "Name : value" -> name length, or npos when
// it does not begin a field (RFC 5322 2.2; blanks before the colon accepted, 4.5.8).
std::size_t field_name_length(std::string_view line);

}  // namespace bsmtp::mail
