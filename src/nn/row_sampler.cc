#include "nn/row_sampler.h"

#include <algorithm>

namespace tessera::nn {

RowSampler::RowSampler(const GenerationOptions& options,
                       std::vector<int64_t> prompt,
                       int64_t limit,
                       uint64_t stream)
    : options_(&options),
      history_(std::move(prompt)),
      prompt_(history_.size()),
      limit_(limit),
      rng_(options.seed, stream) {
  if (options.spans != nullptr) {
    spans_.emplace(*options.spans, options.end_ids, limit);
  }
}

const SpanRule* RowSampler::open_rule() const {
  return spans_.has_value() && spans_->open() >= 0
             ? &options_->spans->rules[static_cast<size_t>(spans_->open())]
             : nullptr;
}

bool RowSampler::guided() const {
  const SpanRule* rule = open_rule();
  return rule != nullptr && rule->guidance != 1.0;
}

int64_t RowSampler::choose(std::span<float> scores, std::span<const float> unconditional) {
  const SpanRule* rule = open_rule();
  if (guided()) {
    const auto scale = static_cast<float>(rule->guidance);
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = unconditional[i] + scale * (scores[i] - unconditional[i]);
    }
  }
  const std::vector<float> raw = options_->on_logprobs
                                     ? std::vector<float>(scores.begin(), scores.end())
                                     : std::vector<float>();
  const SamplingParams& sampling = rule != nullptr ? rule->sampling : options_->sampling;
  IdRange range{0, static_cast<int64_t>(scores.size())};
  if (spans_.has_value()) {
    range = spans_->constrain(scores);
  }
  const auto allowed = scores.subspan(static_cast<size_t>(range.first),
                                      static_cast<size_t>(range.last - range.first));
  SamplingContext context{.history = history_,
                          .prompt = prompt_,
                          .end_ids = options_->end_ids,
                          .first_id = range.first};
  if (rule != nullptr) {  // a span counts its own ids alone
    context.history = context.history.subspan(span_begin_);
    context.prompt = 0;
  }
  process_logits(allowed, sampling, context);
  const int64_t id = range.first + pick(allowed, sampling, rng_);
  if (options_->on_logprobs) {
    logprobs_ = token_logprobs(raw, id, options_->top_logprobs);
  }
  history_.push_back(id);
  if (spans_.has_value()) {
    spans_->accept(id);
    if (rule == nullptr && spans_->open() >= 0) {
      span_begin_ = history_.size();
    }
  }
  ended_ =
      std::find(options_->end_ids.begin(), options_->end_ids.end(), id) != options_->end_ids.end();
  return id;
}

}  // namespace tessera::nn
