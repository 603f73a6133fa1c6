#include "common/base/clock.h"

namespace bsmtp {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::system_clock::now(); }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock kClock;
  return kClock;
}

}  // namespace bsmtp
