#include "common/codec/base64.h"

#include <algorithm>

namespace bsmtp::codec {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kLineOctets = kBase64Columns / 4 * 3;
constexpr std::uint32_t kInvalid = 1U << 24U;
constexpr std::size_t kLinesPerBlock = 800;  // 62,400 octets of output, below kBlockSize

constexpr std::uint32_t octet(char c) {
  return static_cast<unsigned char>(c);
}

// Two characters for each 12 bits: half as many look-ups as one per sextet.
struct EncodeTable {
  std::array<std::array<char, 2>, 4096> pair{};
  constexpr EncodeTable() {
    for (std::size_t i = 0; i < pair.size(); ++i) {
      pair[i] = {kAlphabet[i >> 6U], kAlphabet[i & 63U]};
    }
  }
};
constexpr EncodeTable kEncode;

// value[k][c]: the character's sextet, already shifted to its place k in the group of four.
struct DecodeTable {
  std::array<std::array<std::uint32_t, 256>, 4> value{};
  constexpr DecodeTable() {
    for (auto& place : value) {
      place.fill(kInvalid);
    }
    for (std::uint32_t i = 0; i < kAlphabet.size(); ++i) {
      for (std::uint32_t k = 0; k < 4; ++k) {
        value[k][octet(kAlphabet[i])] = i << (18 - 6 * k);
      }
    }
  }
};
constexpr DecodeTable kDecode;

char* encode_groups(const char* in, std::size_t groups, char* out) {
  for (; groups > 0; --groups, in += 3, out += 4) {
    const std::uint32_t bits = octet(in[0]) << 16U | octet(in[1]) << 8U | octet(in[2]);
    const auto& high = kEncode.pair[bits >> 12U];
    const auto& low = kEncode.pair[bits & 4095U];
    out[0] = high[0];
    out[1] = high[1];
    out[2] = low[0];
    out[3] = low[1];
  }
  return out;
}

// The last group of 1 or 2 octets with its padding.
char* encode_tail(const char* in, std::size_t octets, char* out) {
  std::uint32_t bits = octet(in[0]) << 16U;
  if (octets == 2) {
    bits |= octet(in[1]) << 8U;
  }
  out[0] = kAlphabet[bits >> 18U];
  out[1] = kAlphabet[bits >> 12U & 63U];
  out[2] = octets == 2 ? kAlphabet[bits >> 6U & 63U] : '=';
  out[3] = '=';
  return out + 4;
}

Status bad(std::string_view what) {
  return Status::permanent("5.6.0", std::string("base64 data are damaged: ").append(what));
}

}  // namespace

Base64Sink::Base64Sink(Sink& next) : next_(next), out_(kBlockSize) {}

Status Base64Sink::encode_lines(std::string_view data, std::size_t lines) {
  while (lines > 0) {
    const std::size_t now = std::min(lines, kLinesPerBlock);
    char* out = out_.data();
    for (std::size_t i = 0; i < now; ++i) {
      out = encode_groups(data.data() + i * kLineOctets, kLineOctets / 3, out);
      *out++ = '\r';
      *out++ = '\n';
    }
    TRY(next_.write({out_.data(), static_cast<std::size_t>(out - out_.data())}));
    data.remove_prefix(now * kLineOctets);
    lines -= now;
  }
  return Status::ok();
}

Status Base64Sink::write(std::string_view data) {
  if (rest_size_ > 0) {
    const std::size_t take = std::min(data.size(), kLineOctets - rest_size_);
    std::copy_n(data.data(), take, rest_.data() + rest_size_);
    rest_size_ += take;
    data.remove_prefix(take);
    if (rest_size_ < kLineOctets) {
      return Status::ok();
    }
    TRY(encode_lines({rest_.data(), kLineOctets}, 1));
    rest_size_ = 0;
  }
  const std::size_t lines = data.size() / kLineOctets;
  TRY(encode_lines(data, lines));
  data.remove_prefix(lines * kLineOctets);
  std::copy(data.begin(), data.end(), rest_.data());
  rest_size_ = data.size();
  return Status::ok();
}

Status Base64Sink::finish() {
  if (rest_size_ == 0) {
    return Status::ok();
  }
  const std::string line = base64_encode({rest_.data(), rest_size_}) + "\r\n";
  rest_size_ = 0;
  return next_.write(line);
}

Base64DecodeSource::Base64DecodeSource(Source& from) : from_(from), in_(kBlockSize) {}

Status Base64DecodeSource::fill() {
  TRY_ASSIGN(in_end_, from_.read(in_));
  in_pos_ = 0;
  at_end_ = in_end_ == 0;
  return Status::ok();
}

// One character outside the fast loop: line ends, padding, group borders.
Status Base64DecodeSource::slow_step(char c, char*& out) {
  if (cr_ != (c == '\n') && cr_) {
    return bad("CR without LF");
  }
  cr_ = c == '\r';
  if (c == '\r' || c == '\n') {
    return Status::ok();
  }
  if (c == '=') {
    if (pads_seen_ == 0) {
      if (sextets_ < 2) {
        return bad("padding where none belongs");
      }
      pads_wanted_ = 4 - sextets_;
      const std::uint32_t unused = sextets_ == 2 ? 0xFFFFU : 0xFFU;
      if ((bits_ & unused) != 0) {
        return bad("unused bits are not zero");
      }
      *out++ = static_cast<char>(bits_ >> 16U);
      if (sextets_ == 3) {
        *out++ = static_cast<char>(bits_ >> 8U & 255U);
      }
      sextets_ = 0;
    }
    return ++pads_seen_ > pads_wanted_ ? bad("too much padding") : Status::ok();
  }
  if (pads_seen_ > 0) {
    return bad("octets behind the padding");
  }
  const std::uint32_t value = kDecode.value[sextets_][octet(c)];
  if (value == kInvalid) {
    return bad("an octet outside the alphabet");
  }
  bits_ = sextets_ == 0 ? value : bits_ | value;
  if (++sextets_ == 4) {
    *out++ = static_cast<char>(bits_ >> 16U);
    *out++ = static_cast<char>(bits_ >> 8U & 255U);
    *out++ = static_cast<char>(bits_ & 255U);
    sextets_ = 0;
  }
  return Status::ok();
}

void Base64DecodeSource::fast_groups(char*& out, const char* out_end) {
  const char* in = in_.data() + in_pos_;
  const char* const in_end = in_.data() + in_end_;
  while (in_end - in >= 4 && out_end - out >= 3) {
    const std::uint32_t bits = kDecode.value[0][octet(in[0])] | kDecode.value[1][octet(in[1])] |
                               kDecode.value[2][octet(in[2])] | kDecode.value[3][octet(in[3])];
    if (bits >= kInvalid) {
      break;
    }
    out[0] = static_cast<char>(bits >> 16U);
    out[1] = static_cast<char>(bits >> 8U & 255U);
    out[2] = static_cast<char>(bits & 255U);
    in += 4;
    out += 3;
  }
  in_pos_ = static_cast<std::size_t>(in - in_.data());
}

Result<std::size_t> Base64DecodeSource::read(std::span<char> out) {
  // A group may have to be written whole, so a reader with a tiny buffer gets it in pieces.
  if (!spill_.empty() || out.size() < 3) {
    return read_spilled(out);
  }
  char* place = out.data();
  const char* const end = out.data() + out.size();
  while (end - place >= 3) {
    if (in_pos_ == in_end_) {
      if (place != out.data()) {
        break;  // give what there is before asking for more
      }
      TRY(fill());
      if (at_end_) {
        if (sextets_ != 0 || pads_seen_ != pads_wanted_ || cr_) {
          return bad("they end inside a group of four");
        }
        return std::size_t{0};
      }
    }
    if (sextets_ == 0 && pads_seen_ == 0 && !cr_) {
      fast_groups(place, end);
      if (in_pos_ == in_end_ || end - place < 3) {
        continue;
      }
    }
    TRY(slow_step(in_[in_pos_++], place));
  }
  return static_cast<std::size_t>(place - out.data());
}

Result<std::size_t> Base64DecodeSource::read_spilled(std::span<char> out) {
  if (spill_.empty() && !out.empty()) {
    std::array<char, 48> few{};
    TRY_ASSIGN(const std::size_t got, read(few));
    spill_.assign(few.data(), got);
  }
  const std::size_t now = std::min(out.size(), spill_.size());
  std::copy_n(spill_.data(), now, out.data());
  spill_.erase(0, now);
  return now;
}

std::string base64_encode(std::string_view data) {
  std::string text((data.size() + 2) / 3 * 4, '\0');
  const std::size_t groups = data.size() / 3;
  char* out = encode_groups(data.data(), groups, text.data());
  const std::size_t rest = data.size() - groups * 3;
  if (rest > 0) {
    encode_tail(data.data() + groups * 3, rest, out);
  }
  return text;
}

Result<std::string> base64_decode(std::string_view text) {
  StringSource from(text);
  Base64DecodeSource decoder(from);
  StringSink to(text.size());
  TRY_ASSIGN([[maybe_unused]] const std::uint64_t size, copy(decoder, to));
  return to.take();
}

}  // namespace bsmtp::codec
