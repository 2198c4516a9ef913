// From logits to the next token: transformers' processors in transformers' order (bias, repetition
// penalty, OpenAI's frequency and presence penalties, n-grams, least length, then temperature,
// top-k, top-p, min-p, typical-p), and one seeded draw. Works on one row, on the host.
#pragma once

#include "core/random.h"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tessera::nn {

struct SamplingParams {
  bool greedy = true;               // argmax after bias, penalties and bans; the rest is not used
  double temperature = 1.0;         // > 0
  int64_t top_k = 0;                // 0 = off
  double top_p = 1.0;               // 1 = off
  double min_p = 0.0;               // 0 = off
  double repetition_penalty = 1.0;  // > 0; > 1 discourages ids of the history
  double typical_p = 1.0;           // 1 = off (arXiv 2202.00666)
  /// Subtracted times the number of occurrences among the generated ids, and once for their
  /// presence; OpenAI's definition, −2 … 2.
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  std::vector<std::pair<int64_t, double>> logit_bias = {};  // id, added to its logit
  int64_t no_repeat_ngram = 0;  // > 0: no run of so many ids occurs twice, the prompt included
  int64_t min_new_tokens = 0;   // no end id before so many generated ones
  int64_t least_kept = 1;       // entries that top-k … typical-p leave at least

  /// Throws InvalidArgument naming the value that is out of range.
  void check() const;
};

/// What a row holds when its next token is chosen.
struct SamplingContext {
  std::span<const int64_t> history;       // prompt and output so far
  size_t prompt = 0;                      // ids of `history` that are the prompt
  std::span<const int64_t> end_ids = {};  // for min_new_tokens
  int64_t first_id = 0;                   // id of logits[0], where they are a part of a vocabulary
};

/// Applies the processors in place; removed entries become -inf.
void process_logits(std::span<float> logits,
                    const SamplingParams& params,
                    const SamplingContext& context);

/// One token from processed logits: argmax (first on ties), or a draw from their softmax.
int64_t pick(std::span<const float> logits, const SamplingParams& params, Rng& rng);

/// Probabilities of logits, in place; −infinity becomes 0. At least one is finite.
void softmax(std::span<float> logits);

/// What the model gave a token, before any processor, and the most likely ones.
struct TokenLogprobs {
  int64_t id = 0;
  float logprob = 0;
  std::vector<std::pair<int64_t, float>> top = {};  // id and log-probability, falling
};

/// Natural logarithms from raw logits; `top` entries at most.
TokenLogprobs token_logprobs(std::span<const float> logits, int64_t id, int64_t top);

}  // namespace tessera::nn
