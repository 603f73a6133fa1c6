// TextFilter: message text as an MTA hands it over (LF or CRLF line ends) into the text of a
// BSMTP transaction (CRLF, dot-stuffed) by mail::TextStuffer, which refuses with 5.6.1 what mail
// cannot carry; and counts the Received fields of the header on the way: 5.4.6 stops loops.
// Memory: the header's Received fields (header block up to 64 KiB) and the stuffer's block.
// Threads: one filter, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/stream.h"
#include "common/mail/header.h"
#include "common/mail/line.h"

namespace bsmtp::spool {

class TextFilter final : public Sink {
 public:
  struct Options {
    std::uint64_t max_received = 50;     // more Received fields than this: 5.4.6
    std::uint64_t max_own_received = 3;  // this many of our own: 5.4.6
    // A Received field is our own when it says "by <own_host> (with BSMTP ": what our delivery
    // writes on top of an unpacked message. Empty: none is.
    std::string own_host;
  };

  TextFilter(Sink& next, Options options);
  Status lead(std::string_view octets) { return stuffer_.lead(octets); }
  Status write(std::string_view data) override;
  Status finish() override;  // writes the end mark too; does not finish `next`

  // Of the text as CRLF, not dot-stuffed, and whether any octet is over 127.
  const mail::TextFacts& facts() const { return stuffer_.facts(); }
  // The id in the topmost Received field, which the host MTA has just written: its queue id.
  std::string queue_id() const;
  std::uint64_t received() const { return header_.received(); }  // Received fields seen

 private:
  Status check_hops();

  mail::TextStuffer stuffer_;
  mail::HeaderScanner header_;
  Options options_;
  bool checked_ = false;
};

}  // namespace bsmtp::spool
