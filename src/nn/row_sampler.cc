// The order of a choice: guidance, span grammar, constraint, processors (sampler.h), draw. With a
// draft the draw is that of speculative sampling (arXiv 2211.17192, section 2.3): the draft is kept
// with probability min(1, p/q), else an id is drawn from what p has above q.
#include "nn/row_sampler.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::nn {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

bool nothing_left(std::span<const float> scores) {
  return std::all_of(scores.begin(), scores.end(), [](float score) { return score == kRemoved; });
}

// From the positive part of p − q, by its mass.
int64_t draw_residual(std::span<const float> p, std::span<const float> q, Rng& rng) {
  const auto above = [&](size_t i) { return std::max(0.0F, p[i] - (i < q.size() ? q[i] : 0.0F)); };
  double total = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    total += above(i);
  }
  double target = rng.uniform() * total;
  int64_t last = std::max_element(p.begin(), p.end()) - p.begin();  // p = q but for rounding
  for (size_t i = 0; i < p.size(); ++i) {
    if (above(i) > 0) {
      last = static_cast<int64_t>(i);
      target -= above(i);
      if (target < 0) {
        break;
      }
    }
  }
  return last;
}

// Removes all that `mask` does not allow. False when nothing is left.
bool apply_mask(std::span<float> logits, std::span<const uint32_t> mask) {
  bool some = false;
  for (size_t word = 0; word * 32 < logits.size(); ++word) {
    const uint32_t bits = word < mask.size() ? mask[word] : 0;
    const std::span<float> part =
        logits.subspan(word * 32, std::min<size_t>(32, logits.size() - word * 32));
    if (bits == 0) {
      std::fill(part.begin(), part.end(), kRemoved);
      continue;
    }
    for (size_t i = 0; i < part.size(); ++i) {
      if ((bits >> i & 1U) == 0) {
        part[i] = kRemoved;
      } else {
        some = true;
      }
    }
  }
  return some;
}

}  // namespace

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
  if (options.constraint) {
    constraint_ = options.constraint();
    ended_ = constraint_->must_end();
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

RowSampler::Choices RowSampler::process(std::span<float> scores,
                                        std::span<const float> unconditional) {
  const SpanRule* rule = open_rule();
  if (guided()) {
    const auto scale = static_cast<float>(rule->guidance);
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = unconditional[i] + scale * (scores[i] - unconditional[i]);
    }
  }
  if (options_->on_logprobs) {
    raw_.assign(scores.begin(), scores.end());
  }
  const SamplingParams& sampling = rule != nullptr ? rule->sampling : options_->sampling;
  IdRange range{0, static_cast<int64_t>(scores.size())};
  if (spans_.has_value()) {
    range = spans_->constrain(scores);
  }
  // Known masks take about a microsecond, new ones at most a millisecond: not worth a thread.
  const bool masked = constraint_ != nullptr && rule == nullptr;
  const bool some = !masked || apply_mask(scores, constraint_->mask());
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
  if (some) {
    process_logits(allowed, sampling, context);
  }
  if (masked && nothing_left(allowed)) {
    TESSERA_CHECK(constraint_->may_end() && !options_->end_ids.empty(), Unsupported,
                  "the constraint and the settings leave no token after {} new ones; loosen the "
                  "grammar, the n-gram ban or the biases",
                  produced());
    const int64_t end = options_->end_ids.front() - range.first;
    TESSERA_CHECK(end >= 0 && end < std::ssize(allowed), Unsupported,
                  "the constraint leaves no token after {} new ones, and the end id {} is none of "
                  "this model",
                  produced(), options_->end_ids.front());
    allowed[static_cast<size_t>(end)] = 0;
  }
  return {.scores = allowed, .first = range.first, .sampling = &sampling};
}

void RowSampler::take(int64_t id) {
  if (options_->on_logprobs) {
    logprobs_ = token_logprobs(raw_, id, options_->top_logprobs);
  }
  const bool in_text = open_rule() == nullptr;
  history_.push_back(id);
  if (spans_.has_value()) {
    spans_->accept(id);
    if (in_text && spans_->open() >= 0) {
      span_begin_ = history_.size();
    }
  }
  ended_ =
      std::find(options_->end_ids.begin(), options_->end_ids.end(), id) != options_->end_ids.end();
  if (constraint_ != nullptr && in_text) {
    TESSERA_CHECK(constraint_->accept(id) || ended_, Internal,
                  "the constraint allowed the id {} and does not take it", id);
    ended_ = ended_ || constraint_->must_end();
  }
}

bool RowSampler::takes_best() const {
  const SamplingParams& sampling = options_->sampling;
  return sampling.greedy && !spans_.has_value() && constraint_ == nullptr &&
         !options_->on_logprobs && sampling.logit_bias.empty() &&
         sampling.repetition_penalty == 1.0 && sampling.frequency_penalty == 0.0 &&
         sampling.presence_penalty == 0.0 && sampling.no_repeat_ngram == 0 &&
         sampling.min_new_tokens == 0;
}

int64_t RowSampler::choose(std::span<float> scores, std::span<const float> unconditional) {
  const Choices choices = process(scores, unconditional);
  const int64_t id = choices.first + pick(choices.scores, *choices.sampling, rng_);
  take(id);
  return id;
}

int64_t RowSampler::choose(std::span<float> scores,
                           int64_t draft,
                           std::span<const float> proposal) {
  const Choices choices = process(scores, {});
  TESSERA_CHECK(choices.first == 0 && draft >= 0 && draft < std::ssize(choices.scores) &&
                    draft < std::ssize(proposal),
                Internal, "draft {} of {} ids, {} left", draft, proposal.size(),
                choices.scores.size());
  int64_t id = draft;
  if (choices.sampling->greedy) {
    id = pick(choices.scores, *choices.sampling, rng_);
  } else {
    softmax(choices.scores);
    const auto at = static_cast<size_t>(draft);
    if (rng_.uniform() * proposal[at] >= choices.scores[at]) {
      id = draw_residual(choices.scores, proposal, rng_);
    }
  }
  take(id);
  return id;
}

}  // namespace tessera::nn
