// TextFilter: message text as an MTA hands it over (LF or CRLF line ends) into the text of a
// BSMTP transaction (CRLF, RFC 5321 4.5.2 dot-stuffed), in one pass. Octets that SMTP cannot
// carry are refused with permanent 5.6.1, never altered: NUL, CR without LF, and line ends of
// both kinds in one message (there a lone LF or CR would be data). A last line without an end
// gets one. Also counts Received fields of the header: 5.4.6 stops loops.
// Memory: the start of one header field, nothing else. Threads: one filter, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/stream.h"

namespace bsmtp::spool {

class TextFilter final : public Sink {
 public:
  struct Options {
    std::uint64_t max_received = 50;     // more Received fields than this: 5.4.6
    std::uint64_t max_own_received = 3;  // this many of our own: 5.4.6
    // A Received field is our own when it has "by <own_host>" and "with BSMTP": what our
    // resubmission writes. Empty: none is.
    std::string own_host;
  };

  TextFilter(Sink& next, Options options) : next_(next), options_(std::move(options)) {}
  Status write(std::string_view data) override;
  Status finish() override;  // ends the last line; does not finish `next`

  std::uint64_t octets() const { return octets_; }      // of text passed on, before stuffing
  std::uint64_t received() const { return received_; }  // Received fields seen

 private:
  enum class LineEnd { kUnknown, kLf, kCrLf };

  Status take_line_end(bool cr);
  Status header_part(std::string_view part, bool ends);
  Status end_field();
  Status put(std::string_view part, bool ends);

  Sink& next_;
  Options options_;
  LineEnd line_end_ = LineEnd::kUnknown;
  bool line_empty_ = true;   // no octet of the current line has been seen
  bool pending_cr_ = false;  // the last octet of the last write() was a CR
  bool in_header_ = true;
  std::string field_;  // start of the current header field, unfolded
  std::uint64_t octets_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t own_received_ = 0;
};

}  // namespace bsmtp::spool
