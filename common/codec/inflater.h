// Expands gzip members (RFC 1952) one by one, by zlib or by ISA-L. Private to GunzipSource, which
// adds what is the same for both: reading, several members, limits and the text of failures. Both
// check a member's header, checksum and length. Threads: one object, one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace bsmtp::codec {

class Inflater {
 public:
  enum class State { kMore, kMemberEnd, kDamaged, kNoMemory };

  virtual ~Inflater() = default;
  // Before each member, also the first one.
  virtual State begin_member() = 0;
  // Takes octets from the front of `in` and gives `made` octets to `out`, which has at least one
  // octet. kMore with nothing made means that more input is needed. After a member's end `in`
  // begins with the octet behind it.
  // After kDamaged and kNoMemory `in` does not count, nor what stands in `out`.
  virtual State step(std::string_view& in, std::span<char> out, std::size_t& made) = 0;
};

std::unique_ptr<Inflater> zlib_inflater();
// Null when this was built without ISA-L.
std::unique_ptr<Inflater> isal_inflater();

}  // namespace bsmtp::codec
