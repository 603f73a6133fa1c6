// See split_job.h.
#include "mda/dispatch/split_job.h"

#include <algorithm>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/resend_policy.h"

namespace bsmtp::mda {
namespace {

Result<std::optional<spool::ParcelDir>> claim_for_split(const spool::Spool& spool,
                                                        const std::string& peer,
                                                        const std::string& id) {
  for (const spool::Stage stage : {spool::Stage::kReady, spool::Stage::kSent}) {
    auto claimed = spool::ParcelDir::claim(spool, peer, stage, id);
    if (!claimed.is_ok() || claimed->has_value()) {
      return claimed;
    }
  }
  return std::optional<spool::ParcelDir>();
}

Result<bool> build_part(BuildContext& context, const config::Peer& peer,
                        const spool::ParcelDir& old, const std::vector<std::string>& items,
                        const std::string& why) {
  std::string id;
  TRY_ASSIGN(id, make_id(context.clock.now()));
  std::optional<spool::ParcelDir> part;
  {
    auto lock = context.spool.lock_peer(peer.name);
    if (!lock.is_ok()) {
      return lock.status();
    }
    auto made = spool::ParcelDir::create_part(context.spool, *lock, id, old, items);
    if (!made.is_ok()) {
      return made.status();
    }
    part.emplace(std::move(made).value());
  }
  bool built = false;
  TRY_ASSIGN(built, build_claimed(context, peer, std::move(*part), "split"));
  if (built) {
    log::parcel_split(old.id(), peer.name, id, items.size(), why);
  }
  return built;
}

}  // namespace

Result<bool> begin_split(const spool::Spool& spool, spool::ParcelDir& parcel, ParcelState& state,
                         bool another, const Status& why) {
  std::vector<std::string> items;
  TRY_ASSIGN(items, parcel.items());
  if (items.size() < 2) {
    return false;
  }
  std::vector<std::uint64_t> octets;
  for (const std::string& id : items) {
    os::FileInfo info;
    TRY_ASSIGN(info, spool.ops().stat(parcel.item_path(id)));
    octets.push_back(info.size);
  }
  state.splitting = why.to_string();
  state.earlier_copy = state.earlier_copy || another;
  state.split_at = items.at(half_of(octets));
  TRY(parcel.write_state(state.to_fields()));
  return true;
}

Status begin_again(spool::ParcelDir& parcel, ParcelState& state, const std::string& why) {
  std::vector<std::string> items;
  TRY_ASSIGN(items, parcel.items());
  state.splitting = why;
  state.earlier_copy = true;
  state.split_at = items.empty() ? "" : items.front();
  return parcel.write_state(state.to_fields());
}

Result<std::size_t> split_parcel(BuildContext& context, const config::Peer& peer,
                                 const std::string& id) {
  std::optional<spool::ParcelDir> claimed;
  TRY_ASSIGN(claimed, claim_for_split(context.spool, peer.name, id));
  if (!claimed) {
    return std::size_t{0};
  }
  spool::Fields fields;
  TRY_ASSIGN(fields, claimed->read_state());
  const ParcelState state = ParcelState::from(fields);
  if (state.splitting.empty() || !state.failing.empty()) {
    return std::size_t{0};
  }
  context.earlier_copy = state.earlier_copy;
  std::vector<std::string> items;
  TRY_ASSIGN(items, claimed->items());
  const auto cut = std::lower_bound(items.begin(), items.end(), state.split_at);
  std::size_t built = 0;
  for (const std::vector<std::string>& half :
       {std::vector<std::string>(items.begin(), cut), std::vector<std::string>(cut, items.end())}) {
    if (!half.empty()) {
      bool made = false;
      TRY_ASSIGN(made, build_part(context, peer, *claimed, half, state.splitting));
      built += made ? 1U : 0U;
    }
  }
  // What one parcel could not hold, or what was set aside, has left as well.
  TRY_ASSIGN(items, claimed->items());
  if (items.empty()) {
    TRY(claimed->remove());
  }
  return built;
}

}  // namespace bsmtp::mda
