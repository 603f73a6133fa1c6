// Every file and directory name of the spool is made here; docs/spool.md draws the tree.
// Names come from our ids and from peer names that the configuration has checked, never from
// mail. Nothing here touches the disk.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace bsmtp::spool {

inline constexpr std::string_view kVersionLine = "bsmtp-spool 1\n";

// Stages of an outbound parcel; each is a directory of the peer.
enum class Stage { kBuilding, kReady, kSent, kHeld, kFailed };
inline constexpr std::array kStages{Stage::kBuilding, Stage::kReady, Stage::kSent, Stage::kHeld,
                                    Stage::kFailed};
std::string_view stage_name(Stage stage);  // "building" ...

class Paths {
 public:
  explicit Paths(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  std::string version() const { return root_ + "/VERSION"; }
  std::string heartbeat() const { return root_ + "/heartbeat"; }
  std::string ledger() const { return root_ + "/ledger.sqlite"; }

  std::string peers() const { return root_ + "/peers"; }
  std::string peer(std::string_view peer) const;
  std::string lock(std::string_view peer) const;      // flock: claiming a batch, recovery
  std::string tmp(std::string_view peer) const;       // unfinished items, parcels being removed
  std::string incoming(std::string_view peer) const;  // committed items
  std::string item(std::string_view peer, std::string_view item_id) const;  // in incoming
  std::string stage(std::string_view peer, Stage stage) const;
  std::string parcel(std::string_view peer, Stage stage, std::string_view parcel_id) const;

  std::string inbound() const { return root_ + "/inbound"; }
  std::string inbound_tmp() const { return root_ + "/inbound/tmp"; }
  std::string accepted() const { return root_ + "/inbound/accepted"; }
  std::string deferred() const { return root_ + "/inbound/deferred"; }
  std::string quarantine() const { return root_ + "/inbound/quarantine"; }
  std::string returns() const { return root_ + "/inbound/returns"; }
  // receipt_record.h: receipts of peers, and parcels that want an answer.
  std::string inbound_receipts() const { return root_ + "/inbound/receipts"; }
  std::string inbound_asked() const { return root_ + "/inbound/asked"; }

  std::string notices() const { return root_ + "/notices"; }
  std::string notices_tmp() const { return root_ + "/notices/tmp"; }
  std::string notices_ready() const { return root_ + "/notices/ready"; }
  // Made when the first is refused.
  std::string notices_refused() const { return root_ + "/notices/refused"; }

 private:
  std::string root_;
};

// Inside a parcel directory.
inline constexpr std::string_view kItemsDir = "items";
inline constexpr std::string_view kEntityFile = "entity";  // never changed once `ready`
inline constexpr std::string_view kStateFile = "state";
inline constexpr std::string_view kHandingFile = "handing";  // items that left one by one

}  // namespace bsmtp::spool
