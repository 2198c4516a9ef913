// How many requests a model runs together, and how much of their keys and values it keeps.
#pragma once

#include "nn/engine.h"

#include <optional>

namespace tessera::pipelines {

struct BatchOptions {
  int64_t sequences = 64;  // requests that are stepped together
  /// Keys and values that are kept, in tokens of all requests. 0: what the requests may need, at
  /// most 16384 of each; on the CPU at most 16384 of all and a quarter of the memory that is free,
  /// on a GPU half of it.
  int64_t cache_tokens = 0;
};

/// Settings of an engine where a request holds up to `request_tokens` (0: no limit is known). Empty
/// when the model cannot run over pages.
std::optional<nn::EngineOptions> plan_engine(const nn::SequenceModel& model,
                                             const BatchOptions& options,
                                             int64_t request_tokens);

}  // namespace tessera::pipelines
