// Rules: reference notes of huggingface/transformers generation (logits_process.py).
#include "nn/sampler.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::nn {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

void repetition_penalty(std::span<float> logits,
                        double penalty,
                        std::span<const int64_t> history,
                        int64_t first_id) {
  std::vector<int64_t> ids(history.begin(), history.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto factor = static_cast<float>(penalty);
  for (const int64_t id : ids) {
    if (id >= first_id && id - first_id < static_cast<int64_t>(logits.size())) {
      float& score = logits[static_cast<size_t>(id - first_id)];
      score = score < 0 ? score * factor : score / factor;
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
void keep_top_p(std::span<float> logits, double top_p) {
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
  for (size_t i = 0; i + 1 < order.size(); ++i) {  // the most likely one always stays
    sum += static_cast<float>(order[i].probability / total);
    if (sum > 1.0 - top_p) {
      break;
    }
    logits[order[i].index] = kRemoved;
  }
}

void keep_min_p(std::span<float> logits, double min_p) {
  const float top = *std::max_element(logits.begin(), logits.end());
  const auto threshold = static_cast<float>(top + std::log(min_p));
  for (float& score : logits) {
    if (score < threshold) {
      score = kRemoved;
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
}

void process_logits(std::span<float> logits,
                    const SamplingParams& params,
                    std::span<const int64_t> history,
                    int64_t first_id) {
  if (params.repetition_penalty != 1.0) {
    repetition_penalty(logits, params.repetition_penalty, history, first_id);
  }
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
    keep_top_k(logits, params.top_k);
  }
  if (params.top_p < 1.0) {
    keep_top_p(logits, params.top_p);
  }
  if (params.min_p > 0.0) {
    keep_min_p(logits, params.min_p);
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

}  // namespace tessera::nn
