// Rules: reference notes of huggingface/transformers generation (logits_process.py); frequency and
// presence: OpenAI's documentation of its API.
#include "nn/sampler.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tessera::nn {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// The logit of an id; null when these logits do not hold it.
float* entry(std::span<float> logits, int64_t id, int64_t first_id) {
  const int64_t index = id - first_id;
  return index >= 0 && index < static_cast<int64_t>(logits.size())
             ? &logits[static_cast<size_t>(index)]
             : nullptr;
}

void repetition_penalty(std::span<float> logits, double penalty, const SamplingContext& context) {
  std::vector<bool> seen(logits.size());
  const auto factor = static_cast<float>(penalty);
  for (const int64_t id : context.history) {
    float* score = entry(logits, id, context.first_id);
    if (score != nullptr && !seen[static_cast<size_t>(score - logits.data())]) {
      seen[static_cast<size_t>(score - logits.data())] = true;
      *score = *score < 0 ? *score * factor : *score / factor;
    }
  }
}

void count_penalties(std::span<float> logits,
                     const SamplingParams& params,
                     const SamplingContext& context) {
  std::vector<bool> seen(logits.size());
  for (const int64_t id : context.history.subspan(context.prompt)) {
    if (float* score = entry(logits, id, context.first_id)) {
      const auto index = static_cast<size_t>(score - logits.data());
      const double presence = seen[index] ? 0.0 : params.presence_penalty;
      seen[index] = true;
      *score -= static_cast<float>(params.frequency_penalty + presence);
    }
  }
}

// Bans every id that would complete a run of `size` ids that the history holds already.
void ban_repeated_ngrams(std::span<float> logits, int64_t size, const SamplingContext& context) {
  const std::span<const int64_t> history = context.history;
  const auto tail = static_cast<size_t>(size - 1);
  if (history.size() < static_cast<size_t>(size)) {
    return;
  }
  const std::span<const int64_t> newest = history.last(tail);
  for (size_t i = 0; i + tail < history.size(); ++i) {
    if (std::equal(newest.begin(), newest.end(),
                   history.begin() + static_cast<std::ptrdiff_t>(i))) {
      if (float* score = entry(logits, history[i + tail], context.first_id)) {
        *score = kRemoved;
      }
    }
  }
}

void adjust(std::span<float> logits, const SamplingParams& params, const SamplingContext& context) {
  for (const auto& [id, bias] : params.logit_bias) {
    if (float* score = entry(logits, id, context.first_id)) {
      *score += static_cast<float>(bias);
    }
  }
  if (params.repetition_penalty != 1.0) {
    repetition_penalty(logits, params.repetition_penalty, context);
  }
  if (params.frequency_penalty != 0.0 || params.presence_penalty != 0.0) {
    count_penalties(logits, params, context);
  }
  if (params.no_repeat_ngram > 0) {
    ban_repeated_ngrams(logits, params.no_repeat_ngram, context);
  }
  const auto produced = static_cast<int64_t>(context.history.size() - context.prompt);
  if (produced < params.min_new_tokens) {
    for (const int64_t id : context.end_ids) {
      if (float* score = entry(logits, id, context.first_id)) {
        *score = kRemoved;
      }
    }
  }
}

// Keeps entries >= the k-th largest: ties with it stay, as in the reference.
void keep_top_k(std::span<float> logits, int64_t k) {
  if (k >= static_cast<int64_t>(logits.size())) {
    return;
  }
  std::vector<float> sorted(logits.begin(), logits.end());
  const auto kth = sorted.begin() + (k - 1);
  std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
  for (float& score : logits) {
    if (score < *kth) {
      score = kRemoved;
    }
  }
}

// Entries that were removed before have no probability and need no sorting.
void keep_top_p(std::span<float> logits, double top_p, int64_t least) {
  const float top = *std::max_element(logits.begin(), logits.end());
  struct Entry {
    size_t index;
    float probability;
  };
  std::vector<Entry> order;
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kRemoved) {
      order.push_back({i, std::exp(logits[i] - top)});
      total += order.back().probability;
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](const Entry& a, const Entry& b) {
    return logits[a.index] < logits[b.index];
  });
  double sum = 0;
  for (size_t i = 0; i + static_cast<size_t>(least) < order.size(); ++i) {
    sum += static_cast<float>(order[i].probability / total);
    if (sum > 1.0 - top_p) {
      break;
    }
    logits[order[i].index] = kRemoved;
  }
}

void keep_min_p(std::span<float> logits, double min_p, int64_t least) {
  std::vector<float> best(static_cast<size_t>(std::min<int64_t>(least, std::ssize(logits))));
  std::partial_sort_copy(logits.begin(), logits.end(), best.begin(), best.end(), std::greater<>());
  const auto threshold = std::min(static_cast<float>(best.front() + std::log(min_p)), best.back());
  for (float& score : logits) {
    if (score < threshold) {
      score = kRemoved;
    }
  }
}

// Keeps the entries whose information is nearest to the entropy, up to a mass of `typical_p`.
void keep_typical(std::span<float> logits, double typical_p, int64_t least) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float score : logits) {
    total += std::exp(static_cast<double>(score) - top);
  }
  struct Entry {
    size_t index;
    double probability;
    double distance;
  };
  std::vector<Entry> order;
  double entropy = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kRemoved) {
      const double logprob = static_cast<double>(logits[i]) - top - std::log(total);
      order.push_back({i, std::exp(logprob), -logprob});
      entropy -= std::exp(logprob) * logprob;
    }
  }
  for (Entry& item : order) {
    item.distance = std::abs(item.distance - entropy);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Entry& a, const Entry& b) { return a.distance < b.distance; });
  double sum = 0;
  size_t last = 0;
  for (; last + 1 < order.size(); ++last) {
    sum += order[last].probability;
    if (sum >= typical_p) {
      break;
    }
  }
  const double limit = order[last].distance;
  for (size_t i = static_cast<size_t>(least); i < order.size(); ++i) {
    if (order[i].distance > limit) {
      logits[order[i].index] = kRemoved;
    }
  }
}

}  // namespace

void SamplingParams::check() const {
  TESSERA_CHECK(greedy || temperature > 0, InvalidArgument,
                "temperature must be above 0, got {} (0 means greedy decoding)", temperature);
  TESSERA_CHECK(top_k >= 0, InvalidArgument, "top_k must be 0 (off) or more, got {}", top_k);
  TESSERA_CHECK(top_p > 0 && top_p <= 1, InvalidArgument, "top_p must be in (0, 1], got {}", top_p);
  TESSERA_CHECK(min_p >= 0 && min_p <= 1, InvalidArgument, "min_p must be in [0, 1], got {}",
                min_p);
  TESSERA_CHECK(repetition_penalty > 0, InvalidArgument,
                "repetition_penalty must be above 0, got {}", repetition_penalty);
  TESSERA_CHECK(typical_p > 0 && typical_p <= 1, InvalidArgument,
                "typical_p must be in (0, 1], got {}", typical_p);
  TESSERA_CHECK(std::abs(frequency_penalty) <= 2, InvalidArgument,
                "frequency_penalty must be in [-2, 2], got {}", frequency_penalty);
  TESSERA_CHECK(std::abs(presence_penalty) <= 2, InvalidArgument,
                "presence_penalty must be in [-2, 2], got {}", presence_penalty);
  TESSERA_CHECK(no_repeat_ngram >= 0 && min_new_tokens >= 0, InvalidArgument,
                "no_repeat_ngram_size {} and min_new_tokens {} must be 0 (off) or more",
                no_repeat_ngram, min_new_tokens);
  TESSERA_CHECK(least_kept >= 1, InvalidArgument, "least_kept must be 1 or more, got {}",
                least_kept);
}

void process_logits(std::span<float> logits,
                    const SamplingParams& params,
                    const SamplingContext& context) {
  adjust(logits, params, context);
  if (params.greedy || logits.empty()) {
    return;
  }
  if (params.temperature != 1.0) {
    const auto temperature = static_cast<float>(params.temperature);
    for (float& score : logits) {
      score /= temperature;
    }
  }
  if (params.top_k > 0) {
    keep_top_k(logits, std::max(params.top_k, params.least_kept));
  }
  if (params.top_p < 1.0) {
    keep_top_p(logits, params.top_p, params.least_kept);
  }
  if (params.min_p > 0.0) {
    keep_min_p(logits, params.min_p, params.least_kept);
  }
  if (params.typical_p < 1.0) {
    keep_typical(logits, params.typical_p, params.least_kept);
  }
}

int64_t pick(std::span<const float> logits, const SamplingParams& params, Rng& rng) {
  if (params.greedy) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }
  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float score : logits) {
    total += score == kRemoved ? 0.0 : std::exp(static_cast<double>(score) - top);
  }
  double target = rng.uniform() * total;
  int64_t last = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kRemoved) {
      continue;
    }
    last = static_cast<int64_t>(i);
    target -= std::exp(static_cast<double>(logits[i]) - top);
    if (target < 0) {
      break;
    }
  }
  return last;
}

void softmax(std::span<float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float score : logits) {
    total += std::exp(static_cast<double>(score) - top);
  }
  for (float& score : logits) {
    score = static_cast<float>(std::exp(static_cast<double>(score) - top) / total);
  }
}

TokenLogprobs token_logprobs(std::span<const float> logits, int64_t id, int64_t top) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float score : logits) {
    total += std::exp(static_cast<double>(score) - largest);
  }
  const double shift = largest + std::log(total);
  const auto logprob = [&](int64_t i) {
    return static_cast<float>(logits[static_cast<size_t>(i)] - shift);
  };
  TokenLogprobs result{.id = id, .logprob = logprob(id)};
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<std::ptrdiff_t>(top, std::ssize(order));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    result.top.emplace_back(order[static_cast<size_t>(i)], logprob(order[static_cast<size_t>(i)]));
  }
  return result;
}

}  // namespace tessera::nn
