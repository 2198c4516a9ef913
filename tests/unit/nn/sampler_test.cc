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
    params.typical_p = item.value("typical_p", 1.0);
    params.no_repeat_ngram = item.value("no_repeat_ngram", 0);
    params.min_new_tokens = item.value("min_new_tokens", 0);
    params.least_kept = item.value("least_kept", 1);
    params.logit_bias = item.value("logit_bias", std::vector<std::pair<int64_t, double>>());
    const std::vector<int64_t> ends = item.value("ends", std::vector<int64_t>());
    process_logits(
        logits, params,
        {.history = history, .prompt = item.value("prompt", size_t{0}), .end_ids = ends});
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

// OpenAI's definition, on generated ids alone, of a part of a vocabulary.
TEST(Sampler, PenaltiesCountWhatWasGenerated) {
  std::vector<float> logits = {1.0F, 2.0F, -1.0F, 0.5F};
  const std::vector<int64_t> history = {11, 11, 12, 10, 12, 12, 99};
  const SamplingParams params{.frequency_penalty = 0.5, .presence_penalty = 1.25};
  process_logits(logits, params, {.history = history, .prompt = 2, .first_id = 10});
  EXPECT_EQ(logits, (std::vector<float>{1.0F - 1.75F, 2.0F, -1.0F - 2.75F, 0.5F}));
}

TEST(Sampler, LogprobsAreThoseOfTheSoftmax) {
  const std::vector<float> logits = {std::log(0.1F), std::log(0.4F), std::log(0.4F),
                                     std::log(0.1F)};
  const TokenLogprobs token = token_logprobs(logits, 3, 3);
  EXPECT_EQ(token.id, 3);
  EXPECT_NEAR(token.logprob, std::log(0.1), 1e-6);
  ASSERT_EQ(token.top.size(), 3U);
  EXPECT_EQ(token.top[0].first, 1);  // the first of equals
  EXPECT_EQ(token.top[1].first, 2);
  EXPECT_EQ(token.top[2].first, 0);
  EXPECT_NEAR(token.top[0].second, std::log(0.4), 1e-6);
  EXPECT_EQ(token_logprobs(logits, 0, 9).top.size(), 4U);
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
