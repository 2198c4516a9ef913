// Sampling as users name it, over a model's defaults.
#pragma once

#include "nn/sampler.h"

#include <cstdint>
#include <optional>

namespace tessera::pipelines {

/// What is absent stays as the defaults have it.
struct SamplingChoice {
  std::optional<bool> greedy = {};         // absent: by the rule of lay_over
  std::optional<double> temperature = {};  // 0: greedy
  std::optional<int64_t> top_k = {};
  std::optional<double> top_p = {}, min_p = {}, typical_p = {};
  std::optional<double> repetition_penalty = {};

  /// Who names temperature, top_k, top_p, min_p or typical_p wants drawing, also from a model that
  /// is greedy by default. Checks no values (SamplingParams::check).
  void lay_over(nn::SamplingParams& sampling) const;
};

}  // namespace tessera::pipelines
