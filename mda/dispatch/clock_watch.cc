// See clock_watch.h.
#include "mda/dispatch/clock_watch.h"

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/log/events.h"
#include "common/spool/heartbeat.h"

namespace bsmtp::mda {
namespace {

constexpr std::chrono::seconds kClockAlarm{3600};

}  // namespace

ClockDoubt judge_clock(TimePoint now, TimePoint built, std::optional<TimePoint> believed) {
  if (now < built) {
    return ClockDoubt::kBeforeBuild;
  }
  return believed && now > *believed + kMostAsleep ? ClockDoubt::kJump : ClockDoubt::kNone;
}

TimePoint build_day() {
  const auto day = parse_iso(BSMTP_BUILD_DAY);
  return day.is_ok() ? TimePoint(*day) : TimePoint();
}

ClockWatch::ClockWatch(const spool::Spool& spool) : spool_(spool) {
  const auto beat = spool::read_heartbeat(spool);
  if (beat.is_ok() && beat->has_value()) {
    const TimePoint then = (*beat)->believed.value_or((*beat)->time);
    believed_ = then == TimePoint() ? std::nullopt : std::optional<TimePoint>(then);
  }
}

bool ClockWatch::believe(TimePoint now) {
  const ClockDoubt doubt = judge_clock(now, build_day(), believed_);
  if (doubt != ClockDoubt::kNone && spool::take_clock_accepted(spool_)) {
    accepted_ = true;
    believed_ = now;
  }
  if (doubt == ClockDoubt::kNone || accepted_) {
    believed_ = now;
    doubted_ = false;
    told_ = TimePoint();
    return true;
  }
  if (!doubted_ || now >= told_ + kClockAlarm || now < told_) {
    told_ = now;
    log::alarm("clock",
               str_cat({"it says ", format_iso(now),
                        doubt == ClockDoubt::kBeforeBuild
                            ? std::string(", before this program was made")
                            : ", when it was last believed it said " + format_iso(*believed_),
                        "; nothing is sent, delivered or given up until it is set right, or "
                        "confirmed by `bsmtpctl clock accept`"}));
  }
  doubted_ = true;
  return false;
}

std::optional<TimePoint> ClockWatch::believed_before() const {
  return doubted_ ? std::optional<TimePoint>(believed_.value_or(TimePoint())) : std::nullopt;
}

}  // namespace bsmtp::mda
