// See parcel_lookup.h.
#include "mda/dispatch/parcel_lookup.h"

#include <array>
#include <cerrno>

#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

// In the order parcels move: one that is moved between two look-ups is found in the second. One
// that is sent again moves back; then it is found, or locked, at the second round.
constexpr std::array kWay{spool::Stage::kReady, spool::Stage::kSent, spool::Stage::kFailed};

Status busy(const std::string& id) {
  return Status::temporary("4.3.0", str_cat({"parcel ", id, " is being worked on"}));
}

Result<std::optional<FoundParcel>> take(const spool::Spool& spool, const std::string& peer,
                                        spool::Stage stage, const std::string& id) {
  auto dir = spool::ParcelDir::claim(spool, peer, stage, id);
  if (!dir.is_ok()) {
    return dir.status();
  }
  if (!dir->has_value()) {
    return busy(id);
  }
  spool::Fields fields;
  TRY_ASSIGN(fields, (*dir)->read_state());
  return std::optional<FoundParcel>(FoundParcel{std::move(**dir), ParcelState::from(fields)});
}

}  // namespace

Result<std::optional<FoundParcel>> TokenIndex::find(const spool::Spool& spool,
                                                    const std::string& token) {
  std::vector<std::string> peers;
  TRY_ASSIGN(peers, spool.peers());
  for (const std::string& peer : peers) {
    for (int round = 0; round < 2; ++round) {
      Tokens listed;
      for (const spool::Stage stage : kWay) {
        std::vector<std::string> parcels;
        TRY_ASSIGN(parcels, spool.list_parcels(peer, stage));
        for (const std::string& id : parcels) {
          std::string of_parcel = look_up(spool, peer, stage, id);
          if (of_parcel == token) {
            return take(spool, peer, stage, id);
          }
          if (!of_parcel.empty()) {
            listed.insert_or_assign(id, std::move(of_parcel));
          }
        }
      }
      known_[peer] = std::move(listed);
    }
  }
  return std::optional<FoundParcel>();
}

std::string TokenIndex::look_up(const spool::Spool& spool, const std::string& peer,
                                spool::Stage stage, const std::string& id) {
  Tokens& known = known_[peer];
  const auto found = known.find(id);
  if (found != known.end()) {
    return found->second;
  }
  const auto fields = spool::ParcelDir::peek_state(spool, peer, stage, id);
  std::string token = fields.is_ok() ? fields->get("token") : "";
  if (!token.empty()) {
    known.emplace(id, token);
  }
  return token;
}

Result<std::optional<FoundParcel>> find_by_id(const spool::Spool& spool, const std::string& peer,
                                              const std::string& parcel_id) {
  for (int round = 0; round < 2; ++round) {
    for (const spool::Stage stage : kWay) {
      const auto there = spool.ops().stat(spool.paths().parcel(peer, stage, parcel_id));
      if (there.is_ok()) {
        return take(spool, peer, stage, parcel_id);
      }
      if (there.status().error_number() != ENOENT) {
        return there.status();
      }
    }
  }
  return std::optional<FoundParcel>();
}

}  // namespace bsmtp::mda
