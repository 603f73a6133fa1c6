// Clock: the only way to ask for the time, so that tests can set it.
#pragma once

#include <chrono>

namespace bsmtp {

using TimePoint = std::chrono::system_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

// The machine's clock; valid for the life of the process.
const Clock& system_clock();

}  // namespace bsmtp
