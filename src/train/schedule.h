// Learning rate over the run, as a factor of the peak rate.
#pragma once

#include <cstdint>

namespace tessera::train {

enum class ScheduleKind { kCosine, kWarmupStableDecay, kConstant };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kCosine;
  int64_t steps = 1000;
  int64_t warmup = 0;    // steps of linear rise from 1/warmup to 1
  int64_t decay = 0;     // last steps of warm-up–stable–decay, linear
  double min_lr = 0;     // end point, as a share of the peak
  bool by_time = false;  // the end is stop.minutes: positions are shares of that time
};

/// Factor in (0, 1] at `position` (0 = first step, options.steps = the end; clamped):
/// warm-up (position + 1) / warmup, then
/// cosine: min + (1 − min)(1 + cos π t) / 2 with t = (position − warmup) / (steps − warmup);
/// warm-up–stable–decay (arXiv 2404.06395): 1, then linear to min over the last `decay` steps.
double learning_rate_factor(const ScheduleOptions& options, double position);

}  // namespace tessera::train
