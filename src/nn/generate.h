// The generation loop over a SequenceModel: static batch, left padding, samplers, streaming.
#pragma once

#include "io/json.h"
#include "nn/sampler.h"
#include "nn/sequence_model.h"

#include <functional>
#include <optional>

namespace tessera::nn {

struct GenerationOptions {
  SamplingParams sampling;
  int64_t max_new_tokens = 0;       // 0 generates nothing
  std::vector<int64_t> end_ids;     // generation of a row stops after one of these
  int64_t pad_id = 0;               // fills finished rows
  std::optional<int64_t> pad_hint;  // pad id as configured: infers a mask when none is given
  uint64_t seed = 0;                // row r draws from stream r

  /// End and pad ids from generation_config.json, else config.json; with `sampling_defaults` also
  /// its do_sample, temperature, top_k, top_p, min_p, repetition_penalty. Either may be empty.
  static GenerationOptions from_configs(const io::Json& config,
                                        const io::Json& generation_config,
                                        bool sampling_defaults);
};

/// Called for each new token of a row that is not finished; false stops that row.
using TokenCallback = std::function<bool(int64_t row, int64_t id)>;

/// Continues ids i64 [B, T]; `mask` i64 [B, T] marks left padding with 0 (undefined: inferred as
/// transformers does). Returns i64 [B, T + new], prompt included, end token kept, pad id after it.
Tensor generate(SequenceModel& model,
                const Tensor& ids,
                const Tensor& mask,
                const GenerationOptions& options,
                const TokenCallback& on_token = {});

}  // namespace tessera::nn
