#include "common/spool/paths.h"

#include <cstdio>

#include "common/base/check.h"
#include "common/base/text.h"

namespace bsmtp::spool {

std::string_view stage_name(Stage stage) {
  switch (stage) {
    case Stage::kBuilding:
      return "building";
    case Stage::kReady:
      return "ready";
    case Stage::kSent:
      return "sent";
    case Stage::kHeld:
      return "held";
    case Stage::kFailed:
      return "failed";
  }
  BSMTP_CHECK(false);
}

std::string Paths::peer(std::string_view peer) const {
  return str_cat({root_, "/peers/", peer});
}
std::string Paths::lock(std::string_view peer) const {
  return str_cat({root_, "/peers/", peer, "/lock"});
}
std::string Paths::tmp(std::string_view peer) const {
  return str_cat({root_, "/peers/", peer, "/tmp"});
}
std::string Paths::incoming(std::string_view peer) const {
  return str_cat({root_, "/peers/", peer, "/incoming"});
}
std::string Paths::item(std::string_view peer, std::string_view item_id) const {
  return str_cat({root_, "/peers/", peer, "/incoming/", item_id});
}
std::string Paths::stage(std::string_view peer, Stage stage) const {
  return str_cat({root_, "/peers/", peer, "/", stage_name(stage)});
}
std::string Paths::parcel(std::string_view peer, Stage stage, std::string_view parcel_id) const {
  return str_cat({root_, "/peers/", peer, "/", stage_name(stage), "/", parcel_id});
}

}  // namespace bsmtp::spool
