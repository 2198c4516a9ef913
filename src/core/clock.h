// Time that passed, by the clock that is never set back.
#pragma once

#include <chrono>

namespace tessera {

using Clock = std::chrono::steady_clock;

/// Seconds from `begin` to `end`; negative when `end` is the earlier one.
inline double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Seconds from `begin` to now.
inline double seconds_since(Clock::time_point begin) {
  return seconds_between(begin, Clock::now());
}

}  // namespace tessera
