// The generation loop over a SequenceModel as transformers has it: static batch, left padding,
// samplers, media spans, streaming. Guided spans and batches that change are nn::Engine's.
#pragma once

#include "io/json.h"
#include "nn/constraint.h"
#include "nn/sampler.h"
#include "nn/sequence_model.h"
#include "nn/spans.h"

#include <functional>
#include <optional>

namespace tessera::nn {

/// Why an output ended.
enum class Finish {
  kEnd,        // an end id, or its constraint is through
  kLength,     // its limit
  kStopped,    // a callback returned false
  kCancelled,  // Engine::cancel
};

struct GenerationOptions {
  SamplingParams sampling;          // outside spans
  int64_t max_new_tokens = 0;       // 0 generates nothing
  std::vector<int64_t> end_ids;     // generation of a row stops after one of these
  int64_t pad_id = 0;               // fills finished rows
  std::optional<int64_t> pad_hint;  // pad id as configured: infers a mask when none is given
  uint64_t seed = 0;                // row r draws from stream r

  /// Media spans that the output may hold; null: every id may come at any time. Inside a span its
  /// own sampling holds, and the repetition penalty counts the ids of that span alone.
  const SpanGrammar* spans = nullptr;
  /// What a guided span follows in the run without a condition; needed where a rule's guidance is
  /// not 1, which nn::Engine alone can do. Every guided span starts again from here.
  std::vector<int64_t> guidance_prompt = {};

  /// Keeps the output inside a grammar; empty: any text. It holds for ids outside spans, and goes
  /// before the sampling: what n-gram bans or min_new_tokens leave nothing of ends when it may. An
  /// output is over as soon as its constraint allows nothing but the end, without an end id.
  ConstraintFactory constraint = {};

  /// Called for each new token before `on_token`, with its `top_logprobs` most likely neighbours;
  /// empty: nothing is computed. Log-probabilities are the model's own (after guidance), before
  /// the constraint, penalties, bans and temperature.
  std::function<void(int64_t row, const TokenLogprobs&)> on_logprobs = {};
  int64_t top_logprobs = 0;

  /// End and pad ids from generation_config.json, else config.json; with `sampling_defaults` also
  /// its do_sample, temperature, top_k, top_p, min_p, typical_p, repetition_penalty,
  /// no_repeat_ngram_size, min_new_tokens. Either may be empty.
  static GenerationOptions from_configs(const io::Json& config,
                                        const io::Json& generation_config,
                                        bool sampling_defaults);
};

/// All ones, unless the pad id as configured occurs in ids i64 [B, T] and is no end id: the mask
/// that transformers infers. i64 [B, T] on the host.
Tensor inferred_mask(const Tensor& ids, const GenerationOptions& options);

/// Called for each new token of a row that is not finished; false stops that row.
using TokenCallback = std::function<bool(int64_t row, int64_t id)>;

/// Continues ids i64 [B, T]; `mask` i64 [B, T] marks left padding with 0 (undefined: inferred as
/// transformers does). Returns i64 [B, T + new], prompt included, end token kept, pad id after it.
/// A row's output depends on that row alone. `finishes` gets why each row ended [B].
Tensor generate(SequenceModel& model,
                const Tensor& ids,
                const Tensor& mask,
                const GenerationOptions& options,
                const TokenCallback& on_token = {},
                std::vector<Finish>* finishes = nullptr);

}  // namespace tessera::nn
