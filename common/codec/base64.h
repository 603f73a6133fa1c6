// base64 (RFC 4648 4, RFC 2045 6.8) as streaming filters with table look-ups, block-wise.
// The decoder is strict, because what it reads has been signed octet by octet: only the
// alphabet, line ends (CRLF or LF), and padding at the very end; unused bits must be zero; a
// missing pad, blanks or anything behind the padding are bad data (permanent 5.6.0).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/stream.h"

namespace bsmtp::codec {

inline constexpr std::size_t kBase64Columns = 76;

// Lines of 76 characters ended by CRLF, also the last one. finish() writes the rest and does
// not finish `next`.
class Base64Sink final : public Sink {
 public:
  explicit Base64Sink(Sink& next);
  Status write(std::string_view data) override;
  Status finish() override;

 private:
  Status encode_lines(std::string_view data, std::size_t lines);

  Sink& next_;
  std::array<char, 57> rest_{};  // an unfinished line's octets
  std::size_t rest_size_ = 0;
  std::vector<char> out_;
};

class Base64DecodeSource final : public Source {
 public:
  explicit Base64DecodeSource(Source& from);
  Result<std::size_t> read(std::span<char> out) override;

 private:
  Status fill();
  void fast_groups(char*& out, const char* out_end);
  Status slow_step(char c, char*& out);
  Result<std::size_t> read_spilled(std::span<char> out);

  Source& from_;
  std::vector<char> in_;
  std::size_t in_pos_ = 0;
  std::size_t in_end_ = 0;
  bool at_end_ = false;
  bool cr_ = false;           // the octet before was CR
  std::uint32_t bits_ = 0;    // of an unfinished group
  unsigned sextets_ = 0;      // in it, 0..3
  unsigned pads_seen_ = 0;    // '=' read so far
  unsigned pads_wanted_ = 0;  // how many the last group needs
  std::string spill_;         // octets for readers with a buffer below one group
};

std::string base64_encode(std::string_view data);  // one line, no line end
Result<std::string> base64_decode(std::string_view text);

}  // namespace bsmtp::codec
