#include "common/crypto/signature_packets.h"

#include "common/base/text.h"
#include "common/codec/base64.h"

namespace bsmtp::crypto {
namespace {

constexpr std::size_t kMaxPackets = 64;
constexpr unsigned kSignatureTag = 2;

Status malformed(std::string_view what) {
  return Status::permanent("5.6.0", str_cat({"the signature part ", what}));
}

std::string_view take_line(std::string_view& text) {
  const std::size_t eol = text.find('\n');
  const std::string_view line = text.substr(0, eol);
  text.remove_prefix(eol == std::string_view::npos ? text.size() : eol + 1);
  return trim(line);
}

// The base64 lines between the armour's header and its checksum or tail line.
Result<std::string> armour_body(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN PGP ";
  std::string_view first;
  while (!text.empty() && first.empty()) {
    first = take_line(text);
  }
  // PGP 2.6 labels a detached signature MESSAGE; the packets decide what it is.
  if (first != "-----BEGIN PGP SIGNATURE-----" && first != "-----BEGIN PGP MESSAGE-----") {
    return malformed(first.starts_with(kBegin) ? "holds another kind of PGP data"
                                               : "holds no armoured PGP signature");
  }
  while (!text.empty() && !take_line(text).empty()) {
  }  // armour headers (Version, Comment) up to the empty line
  std::string body;
  const std::string end = "-----END" + std::string(first.substr(10));
  for (;;) {
    if (text.empty()) {
      return malformed("ends too early");
    }
    const std::string_view line = take_line(text);
    if (line == end) {
      break;
    }
    if (!line.starts_with('=')) {  // else the optional checksum
      body += line;
    }
  }
  if (!trim(text).empty()) {
    return malformed("goes on behind the signature");
  }
  return body;
}

// Length of the packet body at `data`, which is behind the tag octet; removes the length octets.
Result<std::size_t> take_length(std::string_view& data, unsigned tag_octet) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(data[i]); };
  const auto number = [&](std::size_t from, std::size_t octets) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < octets; ++i) {
      value = value << 8U | octet(from + i);
    }
    data.remove_prefix(from + octets);
    return value;
  };
  const bool is_new = (tag_octet & 0x40U) != 0;
  const unsigned old_type = tag_octet & 3U;
  if (!is_new && old_type == 3) {
    return malformed("has a packet of unknown length");
  }
  const std::size_t need = is_new ? 1 : std::size_t{1} << old_type;
  if (data.size() < need) {
    return malformed("ends inside a packet");
  }
  if (!is_new) {
    return number(0, need);
  }
  const unsigned first = octet(0);
  if (first < 192) {
    return number(0, 1);
  }
  if (first < 224) {
    if (data.size() < 2) {
      return malformed("ends inside a packet");
    }
    return number(0, 2) - (192U << 8U) + 192U;
  }
  if (first < 255 || data.size() < 5) {
    return malformed("has a packet of unknown length");
  }
  return number(1, 4);
}

Result<SignatureHead> read_head(std::string_view body) {
  const auto octet = [&](std::size_t i) { return unsigned{static_cast<unsigned char>(body[i])}; };
  if (body.size() < 20) {
    return malformed("has a packet that is too short");
  }
  const unsigned version = octet(0);
  if (version == 2 || version == 3) {  // 5.2.2: length 5, type, time, key id, key and hash
    return SignatureHead{version, octet(2), octet(16)};
  }
  return SignatureHead{version, octet(1), octet(3)};  // 5.2.3
}

}  // namespace

Result<SignaturePackets> read_signature(std::string_view armoured) {
  TRY_ASSIGN(const std::string body, armour_body(armoured));
  SignaturePackets packets;
  auto decoded = codec::base64_decode(body);
  if (!decoded.is_ok()) {
    return malformed("is damaged");
  }
  packets.binary = std::move(decoded).value();
  std::string_view data = packets.binary;
  while (!data.empty()) {
    const unsigned tag_octet = static_cast<unsigned char>(data.front());
    const unsigned tag = (tag_octet & 0x40U) != 0 ? tag_octet & 63U : tag_octet >> 2U & 15U;
    if ((tag_octet & 0x80U) == 0 || tag != kSignatureTag) {
      return malformed("holds something else than signatures");
    }
    data.remove_prefix(1);
    TRY_ASSIGN(const std::size_t length, take_length(data, tag_octet));
    if (length > data.size()) {
      return malformed("ends inside a packet");
    }
    TRY_ASSIGN(SignatureHead head, read_head(data.substr(0, length)));
    packets.heads.push_back(head);
    if (packets.heads.size() > kMaxPackets) {
      return malformed("holds too many signatures");
    }
    data.remove_prefix(length);
  }
  if (packets.heads.empty()) {
    return malformed("is empty");
  }
  return packets;
}

bool is_strong_hash(unsigned hash) {
  return hash >= 8 && hash <= 10;
}

}  // namespace bsmtp::crypto
