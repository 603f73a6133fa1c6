// Acceptance: from a verified, completely parsed parcel to inbound/accepted/<peer>.<id>/.
// Authorises each message, writes meta, makes everything durable and commits by one rename that
// never replaces. The scratch directory vanishes unless it was committed.
// Threads: one object, one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/os/deadline.h"
#include "common/parcel/opener.h"
#include "common/spool/accepted.h"
#include "common/spool/spool.h"
#include "mda/receive/authorise.h"
#include "mda/receive/message_writer.h"

namespace bsmtp::mda {

enum class CommitOutcome {
  kAccepted,
  kDuplicate,  // there already, with the same digest
  kConflict,   // there already, with another digest: somebody reuses parcel ids
};

class Acceptance {
 public:
  // Makes the scratch directory inbound/tmp/<new id>.
  static Result<Acceptance> begin(const spool::Spool& spool, TimePoint now);
  Acceptance(Acceptance&& other) noexcept;
  Acceptance& operator=(Acceptance&&) = delete;
  Acceptance(const Acceptance&) = delete;
  Acceptance& operator=(const Acceptance&) = delete;
  ~Acceptance();

  MessageWriter& writer() { return *writer_; }
  const std::string& directory() const { return directory_; }

  struct Commit {
    const config::Config* config = nullptr;
    const config::Peer* peer = nullptr;
    const parcel::Opened* opened = nullptr;
    std::string queue_id;
    TimePoint now;
    RouteLookup route;
    std::function<Status()> before_rename;  // may be empty
  };
  Result<CommitOutcome> commit(const Commit& commit);
  // Recipients refused by authorise(), after commit().
  std::uint64_t refused() const { return refused_; }

 private:
  Acceptance(const spool::Spool& spool, std::string directory);
  Result<spool::AcceptedMeta> make_meta(const Commit& commit);
  Status write_durably(const std::string& meta);
  Result<std::optional<CommitOutcome>> known(const std::string& directory,
                                             const std::string& digest) const;

  const spool::Spool* spool_;
  std::string directory_;  // "" when committed or moved from
  std::vector<os::Deadline::Scratch> scratch_;
  std::unique_ptr<MessageWriter> writer_;
  std::uint64_t refused_ = 0;
};

}  // namespace bsmtp::mda
