#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera::train {

double learning_rate_factor(const ScheduleOptions& options, double position) {
  const auto steps = static_cast<double>(options.steps);
  const auto warmup = static_cast<double>(options.warmup);
  const auto decay = static_cast<double>(options.decay);
  position = std::clamp(position, 0.0, steps);
  if (position < warmup) {
    return std::min(1.0, (position + 1) / warmup);
  }
  double height = 1.0;  // 1 at the peak, 0 at the end
  if (options.kind == ScheduleKind::kCosine && steps > warmup) {
    const double t = (position - warmup) / (steps - warmup);
    height = 0.5 * (1.0 + std::cos(std::numbers::pi * t));
  } else if (options.kind == ScheduleKind::kWarmupStableDecay && decay > 0) {
    height = std::min(1.0, (steps - position) / decay);
  }
  return options.min_lr + (1.0 - options.min_lr) * height;
}

}  // namespace tessera::train
