// One sequence while it is being generated: its history, its draws, its spans, and when it is done.
// Batches of every kind hold one of these a row, so that a row's output depends on that row alone.
#pragma once

#include "nn/generate.h"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace tessera::nn {

class RowSampler {
 public:
  /// `prompt` without padding; at most `limit` new ids; draws from stream `stream` of the seed.
  /// `options` must outlive it.
  RowSampler(const GenerationOptions& options,
             std::vector<int64_t> prompt,
             int64_t limit,
             uint64_t stream);

  /// Chooses the next id from logits [vocab], which are used up, and takes it into the history.
  /// `unconditional` [vocab]: logits without the condition, needed when `guided`.
  int64_t choose(std::span<float> scores, std::span<const float> unconditional);
  /// The same when `draft` was drawn from the distribution `proposal` [ids from 0]: the draft or
  /// another id, distributed as choose's result (arXiv 2211.17192). Not inside spans.
  int64_t choose(std::span<float> scores, int64_t draft, std::span<const float> proposal);
  /// Whether `choose` would take the most likely id of the logits as they are, whatever they are.
  bool takes_best() const;
  /// Takes the most likely id, which somebody else has found, where takes_best().
  void take_best(int64_t id) { take(id); }
  /// Of the last id; only with GenerationOptions::on_logprobs.
  const TokenLogprobs& logprobs() const { return logprobs_; }
  /// Whether the last id ends the row (an end id, or the constraint is through), or its limit is
  /// reached.
  bool ended() const { return ended_; }
  bool full() const { return produced() >= limit_; }

  /// Whether the next id comes from a span with guidance.
  bool guided() const;
  /// Inside a span: the place in `history` of its first code.
  size_t span_begin() const { return span_begin_; }
  const std::vector<int64_t>& history() const { return history_; }
  int64_t produced() const { return static_cast<int64_t>(history_.size() - prompt_); }

 private:
  // What is left of the scores; `first` is the id of scores[0].
  struct Choices {
    std::span<float> scores;
    int64_t first;
    const SamplingParams* sampling;
  };
  const SpanRule* open_rule() const;
  Choices process(std::span<float> scores, std::span<const float> unconditional);
  void take(int64_t id);

  const GenerationOptions* options_;
  std::vector<int64_t> history_;  // prompt and output
  size_t prompt_;
  int64_t limit_;
  Rng rng_;
  std::optional<SpanState> spans_;
  std::unique_ptr<TokenConstraint> constraint_;
  std::vector<float> raw_;  // logits for logprobs_
  size_t span_begin_ = 0;
  TokenLogprobs logprobs_;
  bool ended_ = false;
};

}  // namespace tessera::nn
