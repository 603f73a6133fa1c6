// See sender.h.
#include "mda/notice/sender.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/os/file_ops.h"

namespace bsmtp::mda {
namespace {

// Undelivered for so long, a notice has lost its meaning; the host MTA was down all the time.
constexpr std::chrono::seconds kGiveUp{30L * 86400};

}  // namespace

NoticeSender::NoticeSender(std::shared_ptr<const config::Config> config, NoticeStore& store,
                           const Clock& clock)
    : config_(std::move(config)),
      store_(store),
      clock_(clock),
      mta_({config_->submit, config_->host, config_->smtp_timeout}) {}

void NoticeSender::interrupt() {
  stop_ = true;
  mta_.interrupt();
}

TimePoint NoticeSender::back_off() {
  delay_ =
      delay_.count() == 0 ? config_->retry_initial : std::min(delay_ * 2, config_->retry_maximum);
  not_before_ = clock_.now() + delay_;
  return not_before_;
}

Result<std::optional<TimePoint>> NoticeSender::run() {
  if (clock_.now() < not_before_) {
    return std::optional<TimePoint>(not_before_);
  }
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, store_.waiting());
  bool left = false;
  for (const std::string& id : ids) {
    if (stop_) {
      return std::optional<TimePoint>();
    }
    if (Status status = mta_.ready(); !status.is_ok()) {
      log::trouble(id, status);
      return std::optional<TimePoint>(back_off());
    }
    switch (send_one(id)) {
      case Fate::kGone:
        break;
      case Fate::kLater:
        left = true;
        break;
      case Fate::kBroken:
        mta_.close();
        return std::optional<TimePoint>(back_off());
    }
  }
  mta_.close();
  if (left) {
    return std::optional<TimePoint>(back_off());
  }
  delay_ = std::chrono::seconds(0);
  return std::optional<TimePoint>();
}

NoticeSender::Fate NoticeSender::send_one(const std::string& id) {
  auto item = spool::ItemReader::open(os::real_file_ops(), store_.path(id));
  if (!item.is_ok()) {
    if (item.status().is_permanent()) {
      log::alarm(
          id, str_cat({"a notice is no longer readable and was dropped: ", item.status().text()}));
      return store_.done(id, clock_.now()).is_ok() ? Fate::kGone : Fate::kLater;
    }
    return item.status().error_number() == ENOENT ? Fate::kGone : Fate::kLater;
  }
  const auto text = item->stuffed_text();
  const smtp::Delivery delivery =
      mta_.send(item->envelope(), [&](Sink& sink) { return copy(*text, sink).status(); });
  Status status = delivery.recipients.empty() ? Status::temporary("4.3.0", "no recipient")
                                              : delivery.recipients.front().status;
  if (delivery.outcome == smtp::Outcome::kAmbiguous) {
    log::ambiguous(id, "the final reply to a notice was lost; it is sent again");
    return Fate::kBroken;
  }
  const auto info = os::real_file_ops().stat(store_.path(id));
  const bool too_old = info.is_ok() && info->modified + kGiveUp < clock_.now();
  if (status.is_temporary() && !too_old) {
    log::trouble(id, status);
    return delivery.outcome == smtp::Outcome::kDone ? Fate::kLater : Fate::kBroken;
  }
  if (status.is_ok()) {
    log::notice_sent(id, delivery.final_reply.to_string());
  } else {
    log::alarm(id, str_cat({"a notice could not be sent and was dropped: ", status.text()}));
  }
  status = store_.done(id, clock_.now() + config_->ledger_retention);
  if (!status.is_ok()) {
    log::trouble(id, status);
    return Fate::kLater;
  }
  return Fate::kGone;
}

}  // namespace bsmtp::mda
