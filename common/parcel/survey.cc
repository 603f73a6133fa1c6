#include "common/parcel/survey.h"

#include <algorithm>
#include <string>

#include "common/base/text.h"
#include "common/bsmtp/writer.h"
#include "common/mail/envelope.h"
#include "common/mail/transaction.h"

namespace bsmtp::parcel {
namespace {

// What every processor must take in one transaction (RFC 5321 4.5.3.1.8).
constexpr std::size_t kRecipientsAtOnce = 100;
// Headers of all layers, signature, EHLO and QUIT, and what MTAs put in front on the way.
constexpr std::uint64_t kFraming = 131072;

// What an item, or several, costs the receiver.
struct Cost {
  std::uint64_t transactions = 0;
  std::uint64_t plain = kFraming;  // octets of the batch

  Cost operator+(const Cost& other) const {
    return {transactions + other.transactions, plain + other.plain - kFraming};
  }
  // Octets of the parcel if nothing can be compressed: deflate stores (5 octets for each 16 KiB and
  // a little), base64 makes 78 octets of 57.
  std::uint64_t wire() const { return (plain + plain / 1000) / 57 * 78 + kFraming; }
};

Result<Cost> cost_of(const batch::ItemInfo& info, std::size_t at_once) {
  TRY_ASSIGN(const std::string head, mail::format_transaction_head(info.envelope));
  Cost cost;
  cost.transactions = (info.envelope.recipients.size() + at_once - 1) / at_once;
  // Every recipient stands once, MAIL and DATA before each copy of the text.
  constexpr std::uint64_t kOnce = mail::kMaxCommandLine + 16;
  cost.plain +=
      head.size() + (cost.transactions - 1) * kOnce + cost.transactions * (info.text_octets + 3);
  return cost;
}

bool inflates_too_far(const BuildRequest& request, const Cost& cost) {
  return compresses(request) && cost.plain > request.limits.inflate.max_bytes;
}

Status check_item(const BuildRequest& request, const batch::ItemInfo& info, const Cost& cost) {
  const Limits& limits = request.limits;
  if (info.text.longest_line > limits.line) {
    return Status::permanent(
        "5.6.1", str_cat({"a line of ", std::to_string(info.text.longest_line), " octets; at most ",
                          std::to_string(limits.line), " can be sent"}));
  }
  if (cost.transactions > limits.messages) {
    return Status::permanent("5.5.3", str_cat({std::to_string(info.envelope.recipients.size()),
                                               " recipients are more than one parcel can name"}));
  }
  if (inflates_too_far(request, cost)) {
    return Status::permanent(
        "5.3.4", str_cat({"the message takes ", std::to_string(cost.plain), " octets for its ",
                          std::to_string(info.envelope.recipients.size()), " recipients; at most ",
                          std::to_string(limits.inflate.max_bytes),
                          " (max-inflated-bytes) fit into a parcel"}));
  }
  return Status::ok();
}

bool fits(const BuildRequest& request, const Cost& cost) {
  return cost.transactions <= request.limits.messages && !inflates_too_far(request, cost) &&
         cost.wire() <= request.limits.parcel_bytes;
}

Result<batch::ItemInfo> read_item(const BuildRequest& request, const BuildItem& item,
                                  batch::Requirements& requirements) {
  TRY_ASSIGN(const auto source, item.open());
  TRY_ASSIGN(batch::ItemInfo info, batch::inspect_item(*source));
  TRY(requirements.add(info.envelope, request.agreement));
  return info;
}

}  // namespace

std::size_t recipients_at_once(const BuildRequest& request) {
  return std::clamp<std::size_t>(request.limits.recipients, 1, kRecipientsAtOnce);
}

bool compresses(const BuildRequest& request) {
  return request.profile == Profile::kNative || request.profile == Profile::kPmdfGzip ||
         (request.profile == Profile::kPmdfSigned && request.compress);
}

Result<Survey> survey_items(const BuildRequest& request, std::size_t* bad_item) {
  Survey survey;
  Cost total;
  for (std::size_t i = 0; i < request.items.size(); ++i) {
    const BuildItem& item = request.items[i];
    const auto refuse = [&](const Status& status) {
      if (status.is_permanent() && bad_item != nullptr) {
        *bad_item = i;
      }
      return status.with_context("item " + item.name);
    };
    batch::Requirements requirements = survey.requirements;
    const auto info = read_item(request, item, requirements);
    if (!info.is_ok()) {
      return refuse(info.status());
    }
    const auto cost = cost_of(*info, recipients_at_once(request));
    if (!cost.is_ok()) {
      return refuse(cost.status());
    }
    if (const Status status = check_item(request, *info, *cost); !status.is_ok()) {
      return refuse(status);
    }
    total = total + *cost;
    // The first goes alone if need be: how well it compresses is seen when it is written.
    if (i > 0 && !fits(request, total)) {
      break;
    }
    survey.items = i + 1;
    survey.requirements = requirements;
    survey.has_8bit = survey.has_8bit || info->text.has_8bit;
    survey.longest_line = std::max(survey.longest_line, info->text.longest_line);
  }
  return survey;
}

}  // namespace bsmtp::parcel
