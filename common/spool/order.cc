#include "common/spool/order.h"

#include <algorithm>
#include <array>

#include "common/base/id.h"
#include "common/base/text.h"

namespace bsmtp::spool {
namespace {

constexpr std::array<std::string_view, 3> kOrderNames = {"resend", "release", "fail"};
constexpr std::size_t kMaxOrder = 64;

std::string order_file(std::string_view parcel_id) {
  return str_cat({kOrderPrefix, parcel_id});
}

}  // namespace

std::string_view order_name(OrderKind kind) {
  return kOrderNames.at(static_cast<std::size_t>(kind));
}

std::optional<OrderKind> order_from(std::string_view name) {
  const auto* const found = std::find(kOrderNames.begin(), kOrderNames.end(), name);
  return found == kOrderNames.end()
             ? std::nullopt
             : std::optional<OrderKind>(static_cast<OrderKind>(found - kOrderNames.begin()));
}

Status write_order(const Spool& spool, const std::string& peer, const std::string& parcel_id,
                   OrderKind kind) {
  return os::write_file_atomically(spool.ops(), spool.paths().peer(peer), spool.paths().tmp(peer),
                                   order_file(parcel_id), str_cat({order_name(kind), "\n"}),
                                   kFileMode);
}

Result<std::vector<Order>> list_orders(const Spool& spool, const std::string& peer) {
  std::vector<Order> orders;
  TRY_ASSIGN(auto names, spool.ops().list(spool.paths().peer(peer)));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string id = name.starts_with(kOrderPrefix) ? name.substr(kOrderPrefix.size()) : "";
    if (!is_id(id)) {
      continue;
    }
    TRY_ASSIGN(
        const std::string text,
        os::read_file(spool.ops(), str_cat({spool.paths().peer(peer), "/", name}), kMaxOrder));
    orders.push_back({id, order_from(trim(text))});
  }
  return orders;
}

Status remove_order(const Spool& spool, const std::string& peer, const std::string& parcel_id) {
  return os::remove_if_exists(spool.ops(),
                              str_cat({spool.paths().peer(peer), "/", order_file(parcel_id)}));
}

}  // namespace bsmtp::spool
