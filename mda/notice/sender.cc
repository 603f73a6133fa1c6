// See sender.h.
#include "mda/notice/sender.h"

#include <algorithm>
#include <cerrno>

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/os/file_ops.h"
#include "mda/notice/back_off.h"
#include "mda/notice/by_tunnel.h"

namespace bsmtp::mda {
namespace {

// Undelivered for so long, a notice has lost its meaning; the host MTA was down all the time.
constexpr std::chrono::seconds kGiveUp{30L * 86400};
// So many connections lost one after another say more about the MTA than about the notices.
constexpr std::uint64_t kMaxBroken = 3;
// RFC 6531 3.5: what the client says for a server without SMTPUTF8.
constexpr std::string_view kNeedsUtf8 = "5.6.7";

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

TimePoint NoticeSender::postpone_all() {
  not_before_ =
      clock_.now() + back_off(++unreachable_, config_->retry_initial, config_->retry_maximum);
  return not_before_;
}

TimePoint NoticeSender::postpone(const std::string& id) {
  Wait& wait = waits_[id];
  wait.next =
      clock_.now() + back_off(++wait.attempts, config_->retry_initial, config_->retry_maximum);
  return wait.next;
}

Result<std::optional<TimePoint>> NoticeSender::run() {
  const TimePoint now = clock_.now();
  if (now < not_before_) {
    return std::optional<TimePoint>(not_before_);
  }
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, store_.waiting());
  const auto left = [&](const auto& entry) {
    return !std::binary_search(ids.begin(), ids.end(), entry.first);
  };
  std::erase_if(waits_, left);
  std::erase_if(answered_, left);
  std::optional<TimePoint> due;
  std::uint64_t broken = 0;  // in a row
  for (const std::string& id : ids) {
    if (stop_) {
      return std::optional<TimePoint>();
    }
    const auto wait = waits_.find(id);
    if (wait != waits_.end() && now < wait->second.next) {
      due = due ? std::min(*due, wait->second.next) : wait->second.next;
      continue;
    }
    if (Status status = mta_.ready(); !status.is_ok()) {
      log::trouble(id, status);
      return std::optional<TimePoint>(postpone_all());
    }
    unreachable_ = 0;
    const Fate fate = send_one(id);
    if (fate == Fate::kGone) {
      waits_.erase(id);
      broken = 0;
      continue;
    }
    if (fate == Fate::kNoLedger) {
      not_before_ = clock_.now() + config_->retry_initial;
      mta_.close();
      return std::optional<TimePoint>(not_before_);
    }
    const TimePoint next = postpone(id);
    due = due ? std::min(*due, next) : next;
    if (fate == Fate::kBroken) {
      mta_.close();
      if (++broken >= kMaxBroken) {
        // Those that were tried wait longer than that: the others come first then.
        not_before_ = clock_.now() + config_->retry_initial;
        return std::optional<TimePoint>(not_before_);
      }
    }
  }
  mta_.close();
  return due;
}

NoticeSender::Fate NoticeSender::send_one(const std::string& id) {
  if (const auto answered = answered_.find(id); answered != answered_.end()) {
    return over(id, answered->second);
  }
  auto item = spool::ItemReader::open(os::real_file_ops(), store_.path(id));
  if (!item.is_ok()) {
    if (item.status().is_permanent()) {
      log::alarm(
          id, str_cat({"a notice is no longer readable and was dropped: ", item.status().text()}));
      return over(id, clock_.now());
    }
    if (item.status().error_number() == ENOENT) {
      return Fate::kGone;
    }
    log::trouble(id, item.status());
    return Fate::kLater;
  }
  const auto start = store_.begin(id, clock_.now());
  if (!start.is_ok()) {
    log::alarm("ledger", str_cat({start.status().text(), "; notices wait"}));
    return Fate::kNoLedger;
  }
  if (start.value() == NoticeStore::Start::kSent) {
    return over(id, clock_.now() + config_->ledger_retention);
  }
  if (start.value() == NoticeStore::Start::kSendAgain) {
    log::ambiguous(id,
                   "interrupted while this notice was handed to the host MTA; it is sent again");
  }
  return hand_over(id, *item);
}

NoticeSender::Fate NoticeSender::hand_over(const std::string& id, const spool::ItemReader& item) {
  const auto text = item.stuffed_text();
  const smtp::Delivery delivery =
      mta_.send(item.envelope(), [&](Sink& sink) { return copy(*text, sink).status(); });
  const Status status = delivery.recipients.empty() ? Status::temporary("4.3.0", "no recipient")
                                                    : delivery.recipients.front().status;
  const bool ambiguous = delivery.outcome == smtp::Outcome::kAmbiguous;
  const auto info = os::real_file_ops().stat(store_.path(id));
  const bool too_old = info.is_ok() && info->modified + kGiveUp < clock_.now();
  if (ambiguous || (status.is_temporary() && !too_old)) {
    if (ambiguous) {
      log::ambiguous(id, "the final reply to a notice was lost; it is sent again");
    } else {
      log::trouble(id, status);
    }
    // It has been said: the next attempt is not in doubt by this one.
    if (const Status noted = store_.not_sent(id); !noted.is_ok()) {
      log::trouble(id, noted);
    }
    return delivery.outcome == smtp::Outcome::kDone ? Fate::kLater : Fate::kBroken;
  }
  if (!status.is_ok()) {
    return refused(id, item, status, too_old);
  }
  log::notice_sent(id, delivery.final_reply.to_string());
  return over(id, clock_.now() + config_->ledger_retention);
}

NoticeSender::Fate NoticeSender::refused(const std::string& id, const spool::ItemReader& item,
                                         const Status& status, bool too_old) {
  std::string taken;
  if (status.is_permanent() && status.code() == kNeedsUtf8 && item.envelope().smtputf8) {
    auto sent = send_by_tunnel(*config_, store_.spool(), item, clock_.now());
    if (sent.status().is_temporary() && !too_old) {
      log::trouble(id, sent.status());
      if (const Status noted = store_.not_sent(id); !noted.is_ok()) {
        log::trouble(id, noted);
      }
      return Fate::kLater;
    }
    taken = sent.is_ok() ? std::move(sent).value() : "";
  }
  if (taken.empty()) {
    const auto kept = store_.keep_refused(id);
    log::alarm(id, str_cat({"a notice could not be sent and was dropped: ", status.text(),
                            kept.is_ok() ? "; it lies in " : "; nor could it be kept: ",
                            kept.is_ok() ? *kept : kept.status().text()}));
  } else {
    log::notice_sent(id, taken);
  }
  return over(id, clock_.now() + config_->ledger_retention);
}

NoticeSender::Fate NoticeSender::over(const std::string& id, TimePoint retain_until) {
  const Status status = store_.done(id, retain_until);
  if (!status.is_ok()) {
    log::trouble(id, status);
    answered_[id] = retain_until;
    return Fate::kLater;
  }
  answered_.erase(id);
  return Fate::kGone;
}

}  // namespace bsmtp::mda
