// AcceptedParcel: the files of one directory in inbound/accepted/ or inbound/deferred/ as a reader
// sees them: `meta`, `messages`, and in deferred/ `state`, which tells attempts, the next one and
// which messages have work left (without it: all). The octets of finished messages stay in the
// file until the parcel is over.
// Guarantee: a parcel without a readable `meta` or `messages` is refused as a whole (temporary,
// naming the file: the mail stays); of a `messages` that is too short the items that lie within it
// can be read. Whether they are as they were accepted is for the reader to see, by their digests.
// May not: lock or change anything.
// Threads: one object; open_message() may be called from several at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/os/file_ops.h"
#include "common/spool/accepted.h"
#include "common/spool/item.h"

namespace bsmtp::spool {

inline constexpr std::string_view kDeferralName = "state";

struct Deferral {
  std::uint64_t attempts = 0;
  TimePoint next{};           // not to be tried before
  std::uint64_t damaged = 0;  // messages that could not be read at the last attempt
};
// The file `state` of a directory.
Result<Deferral> read_deferral(os::FileOps& ops, const std::string& directory);
// Its text. `open`: ordinals of the messages with work left, ascending.
std::string format_deferral(const Deferral& deferral, const std::vector<std::uint64_t>& open);

class AcceptedParcel {
 public:
  static Result<AcceptedParcel> load(os::FileOps& ops, const std::string& directory);

  const AcceptedMeta& meta() const { return meta_; }
  const Deferral& deferral() const { return deferral_; }
  // Ordinals (from 1) of messages with work left, ascending.
  const std::vector<std::uint64_t>& open_messages() const { return open_; }
  // Also of a finished one.
  Result<ItemReader> open_message(std::uint64_t index) const;
  // The first `length` octets of an item, at most all of it. The parcel must outlive the source.
  std::unique_ptr<Source> octets(std::uint64_t index, std::uint64_t length) const;
  // The whole file, also what is finished. The parcel must outlive the source.
  std::unique_ptr<Source> all_messages() const;
  std::uint64_t messages_size() const { return offsets_.back(); }

  void set_deferral(const Deferral& deferral, std::vector<std::uint64_t> open);

 private:
  explicit AcceptedParcel(os::FileOps& ops) : ops_(&ops) {}

  os::FileOps* ops_;
  AcceptedMeta meta_;
  Deferral deferral_;
  std::vector<std::uint64_t> open_;
  std::vector<std::uint64_t> offsets_;  // of the items, and where the last one ends
  std::shared_ptr<const os::File> file_;
};

}  // namespace bsmtp::spool
