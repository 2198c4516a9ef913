#include "nn/sampler.h"

#include "core/error.h"
#include "io/json.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::nn {
namespace {

// Goldens of transformers' logits processors: tests/parity/samplers.py.
TEST(Sampler, ProcessedDistributionsEqualTheReference) {
  const io::Json file = io::read_json(io::fs::path(TESSERA_GOLDENS) / "samplers" / "cases.json");
  ASSERT_GT(file.at("cases").size(), 20U);
  for (const io::Json& item : file.at("cases")) {
    std::vector<float> logits = item.at("logits").get<std::vector<float>>();
    const std::vector<int64_t> history = item.at("history").get<std::vector<int64_t>>();
    SamplingParams params{.greedy = false};
    params.temperature = item.at("temperature").get<double>();
    params.top_k = item.at("top_k").get<int64_t>();
    params.top_p = item.at("top_p").get<double>();
    params.min_p = item.at("min_p").get<double>();
    params.repetition_penalty = item.at("repetition_penalty").get<double>();
    process_logits(logits, params, {.history = history});
    const std::vector<double> expected = item.at("probabilities").get<std::vector<double>>();
    double total = 0;
    float top = -INFINITY;
    for (const float score : logits) {
      top = std::max(top, score);
    }
    for (const float score : logits) {
      total += std::exp(static_cast<double>(score - top));
    }
    for (size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(std::exp(static_cast<double>(logits[i] - top)) / total, expected[i], 2e-6)
          << item.dump();
    }
  }
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), -INFINITY, std::log(0.2F)};
  const SamplingParams params{.greedy = false};
  Rng rng(7);
  int counts[4] = {};
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[pick(logits, params, rng)];
  }
  // Four standard deviations of a binomial share are below 0.01 here.
  EXPECT_NEAR(counts[0] / double{kDraws}, 0.5, 0.01);
  EXPECT_NEAR(counts[1] / double{kDraws}, 0.3, 0.01);
  EXPECT_EQ(counts[2], 0);
  EXPECT_NEAR(counts[3] / double{kDraws}, 0.2, 0.01);
}

TEST(Sampler, GreedyTakesTheFirstOfEqualBest) {
  Rng rng(1);
  EXPECT_EQ(pick(std::vector<float>{1, 3, 3, 2}, {}, rng), 1);
}

TEST(Sampler, RefusesValuesOutOfRange) {
  EXPECT_THROW((SamplingParams{.greedy = false, .temperature = 0}.check()), InvalidArgument);
  EXPECT_THROW((SamplingParams{.top_p = 0}.check()), InvalidArgument);
  EXPECT_THROW((SamplingParams{.top_k = -1}.check()), InvalidArgument);
  EXPECT_THROW((SamplingParams{.repetition_penalty = 0}.check()), InvalidArgument);
  EXPECT_NO_THROW(SamplingParams{}.check());
}

}  // namespace
}  // namespace tessera::nn
