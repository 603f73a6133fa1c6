// DsnLimit: how many DSNs one peer's mail has caused within the hour, so that a flood of bad mail
// out of a tunnel does not become a flood of backscatter; and the list of those that were not
// sent, from which the postmaster gets a digest. Both lie in the peer's spool directory:
//   dsn-hour    the hour and its count; replaced without fsync, so roughly right after a crash
//   withheld    one line for each DSN not sent; at most kMaxWithheld octets, the log has all
// Failure: temporary; a count that cannot be written only is not remembered.
// Threads: safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

inline constexpr std::size_t kMaxWithheld = 256U << 10U;

class DsnLimit {
 public:
  explicit DsnLimit(const spool::Spool& spool) : spool_(spool) {}

  // False: `limit` were taken in this hour already.
  bool take(const std::string& peer, std::uint64_t limit, TimePoint now);
  // Adds a line (made printable here, without line end) for the digest.
  Status withhold(const std::string& peer, const std::string& line);
  // The lines so far, to be told now; they stay until told() is called, so that a crash in
  // between tells them again, not never. nullopt: there are none.
  Result<std::optional<std::string>> to_tell(const std::string& peer);
  Status told(const std::string& peer);

 private:
  struct Hour {
    std::int64_t hour = 0;
    std::uint64_t count = 0;
  };
  Hour read(const std::string& peer) const;
  void write(const std::string& peer, const Hour& hour) const;
  std::string path(const std::string& peer, const char* name) const;

  const spool::Spool& spool_;
  std::mutex mutex_;
  std::map<std::string, Hour> hours_;
};

}  // namespace bsmtp::mda
