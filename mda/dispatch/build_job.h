// Building one parcel: claim the items, set aside what cannot travel, stream them into a signed
// entity, commit as `ready`. A crash or failure at any point leaves every item in incoming/ (or
// in building/, from where recovery brings it back) or in the finished parcel.
// A bad item never stops its batch: it goes to the peer's held/ directory, its sender (or, when
// it cannot be read, the postmaster) is told, and the rest is built.
// Failure: temporary; the items are back in incoming/. Threads: jobs of different peers and
// batches run at once, each with its own Signer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/crypto/openpgp.h"
#include "common/parcel/manifest.h"
#include "common/spool/parcel_dir.h"
#include "mda/dispatch/parcel_state.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

struct BuildContext {
  std::shared_ptr<const config::Config> config;
  const spool::Spool& spool;
  NoticeStore& notices;
  const Clock& clock;
  // The worker's signer, opened when first needed and again after trouble.
  std::optional<crypto::Signer>& signer;
  // What the manifest asks a peer with receipts for.
  parcel::Receipt receipt = parcel::Receipt::kWanted;
  // For the part of a parcel that was split: ParcelState::earlier_copy.
  bool earlier_copy = false;
};

// True: parcel `id` (new, from make_id) is ready; false: nothing was left to build.
Result<bool> build_parcel(BuildContext& context, const config::Peer& peer, const std::string& id,
                          const std::vector<std::string>& items, const std::string& why);

// The same for a parcel in building/ that has its items. False: nothing was left to build, and it
// is gone.
Result<bool> build_claimed(BuildContext& context, const config::Peer& peer, spool::ParcelDir dir,
                           const std::string& why);

// SHA-256 (hex) of a file's first `octets`: ParcelState::entity_digest.
Result<std::string> digest_of(os::FileOps& ops, const os::File& file, std::uint64_t octets);

}  // namespace bsmtp::mda
