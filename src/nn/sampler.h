// From logits to the next token: transformers' processors in transformers' order (repetition
// penalty, then temperature, top-k, top-p, min-p), and one seeded draw. Works on one row, on the
// host.
#pragma once

#include "core/random.h"

#include <cstdint>
#include <span>
#include <vector>

namespace tessera::nn {

struct SamplingParams {
  bool greedy = true;               // argmax after the repetition penalty; the rest is not used
  double temperature = 1.0;         // > 0
  int64_t top_k = 0;                // 0 = off
  double top_p = 1.0;               // 1 = off
  double min_p = 0.0;               // 0 = off
  double repetition_penalty = 1.0;  // > 0; > 1 discourages ids of `history`

  /// Throws InvalidArgument naming the value that is out of range.
  void check() const;
};

/// Applies the processors in place; removed entries become -inf. `history`: prompt and output so
/// far. `first_id`: the id of logits[0], where they are a part of the vocabulary.
void process_logits(std::span<float> logits,
                    const SamplingParams& params,
                    std::span<const int64_t> history,
                    int64_t first_id = 0);

/// One token from processed logits: argmax (first on ties), or a draw from their softmax.
int64_t pick(std::span<const float> logits, const SamplingParams& params, Rng& rng);

}  // namespace tessera::nn
