// Reads an OpenPGP signature part down to its packets before gpg sees it: armour off, every
// packet must be a signature (RFC 9580 4.2, 5.2, 6.2). So nothing that carries its own text, no
// clear-signed or compressed form and no key can stand where a detached signature belongs.
// Threads: pure function.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::crypto {

struct SignatureHead {
  unsigned version = 0;
  unsigned type = 0;  // 0x00 binary, 0x01 text
  unsigned hash = 0;  // RFC 9580 9.5: 8, 9, 10 = SHA-256, -384, -512
};

struct SignaturePackets {
  std::string binary;  // the packets without armour
  std::vector<SignatureHead> heads;
};

// Permanent 5.6.0 that says what else it is. At most 64 packets.
Result<SignaturePackets> read_signature(std::string_view armoured);

// SHA-256 or better.
bool is_strong_hash(unsigned hash);

}  // namespace bsmtp::crypto
