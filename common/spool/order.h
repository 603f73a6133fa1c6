// Orders: what an admin wants done with one outbound parcel, as a file peers/<name>/order.<id> that
// bsmtpctl writes and the dispatcher carries out and removes. So parcels have one master, and a
// command works whether the dispatcher runs or is started later.
// Failure: temporary, naming the file. Threads: functions without state.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/spool/spool.h"

namespace bsmtp::spool {

inline constexpr std::string_view kOrderPrefix = "order.";

enum class OrderKind {
  kResend,   // hand it to the host MTA again, now
  kRelease,  // it arrived: forget it, tell nobody
  kFail,     // give it up: tell its senders
};
std::string_view order_name(OrderKind kind);  // "resend" ...
std::optional<OrderKind> order_from(std::string_view name);

struct Order {
  std::string parcel_id;
  std::optional<OrderKind> kind;  // nullopt: the file holds no order we know
};

// Durable when ok; a second order for a parcel replaces the first.
Status write_order(const Spool& spool, const std::string& peer, const std::string& parcel_id,
                   OrderKind kind);
Result<std::vector<Order>> list_orders(const Spool& spool, const std::string& peer);
Status remove_order(const Spool& spool, const std::string& peer, const std::string& parcel_id);

}  // namespace bsmtp::spool
