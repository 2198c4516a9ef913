#include "nn/generate.h"

#include "core/error.h"
#include "unit/nn/tiny_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <map>

namespace tessera::nn {
namespace {

Ids run(SequenceModel& model, const Ids& prompt, const GenerationOptions& options) {
  const c10::InferenceMode inference;
  const Tensor out = generate(model, at::tensor(prompt, at::kLong).unsqueeze(0), {}, options);
  const int64_t* ids = out.const_data_ptr<int64_t>();
  return {ids + prompt.size(), ids + out.numel()};
}

const std::vector<Ids>& prompts() {
  static const std::vector<Ids> kPrompts = {
      {4, 8, 15, 16, 23}, {42}, {4, 2, 2, 6, 7, 8, 9, 10, 11, 12, 13}, {5, 5}, {20, 21, 22, 23}};
  return kPrompts;
}

TEST(Generate, SpansEqualThePlainComputation) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(1.0, 1.0);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    GenerationOptions options = settings(&spans);
    options.seed = seed;
    for (const Ids& prompt : prompts()) {
      EXPECT_EQ(run(*model, prompt, options), plainly(*model, prompt, options));
    }
  }
}

TEST(Generate, ARowDoesNotDependOnTheOthers) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(1.0, 1.0);
  const auto rows = static_cast<int64_t>(prompts().size());
  for (uint64_t seed = 0; seed < 6; ++seed) {
    GenerationOptions options = settings(&spans);
    options.seed = seed;
    const Tensor ids = at::zeros({rows, 11}, at::kLong);
    const Tensor mask = at::zeros({rows, 11}, at::kLong);
    std::map<int64_t, Ids> told;
    for (int64_t b = 0; b < rows; ++b) {
      const Ids& prompt = prompts()[static_cast<size_t>(b)];
      const auto length = static_cast<int64_t>(prompt.size());
      ids[b].narrow(0, 11 - length, length).copy_(at::tensor(prompt, at::kLong));
      mask[b].narrow(0, 11 - length, length).fill_(1);
    }
    {
      const c10::InferenceMode inference;
      generate(*model, ids, mask, options, [&](int64_t row, int64_t id) {
        told[row].push_back(id);
        return true;
      });
    }
    for (int64_t b = 0; b < rows; ++b) {
      const auto stream = static_cast<uint64_t>(b);
      EXPECT_EQ(told[b], plainly(*model, prompts()[static_cast<size_t>(b)], options, stream))
          << "row " << b << ", seed " << seed;
    }
  }
}

TEST(Generate, StoppedRowsLeaveTheOthersAlone) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(1.0, 1.0);
  const GenerationOptions options = settings(&spans);
  const c10::InferenceMode inference;
  const Tensor ids = at::tensor({4, 8, 15, 4, 8, 15}, at::kLong).view({2, 3});
  int64_t calls = 0;
  const Tensor out = generate(*model, ids, {}, options, [&](int64_t row, int64_t) {
    calls += row == 0 ? 1 : 0;
    return row == 1 || calls < 4;
  });
  EXPECT_EQ(calls, 4);
  for (const int64_t row : {0, 1}) {
    const Ids alone = plainly(*model, {4, 8, 15}, options, static_cast<uint64_t>(row));
    const auto length = static_cast<int64_t>(alone.size());
    ASSERT_GT(length, 4);
    for (int64_t i = 0; i < out.size(1) - 3; ++i) {
      const bool there = i < (row == 0 ? 4 : length);
      EXPECT_EQ(out[row][3 + i].item<int64_t>(), there ? alone[static_cast<size_t>(i)] : 0);
    }
  }
}

TEST(Generate, RefusesWhatDoesNotFit) {
  const auto model = tiny_model();
  const SpanGrammar guided = grammar();
  EXPECT_THROW(run(*model, {4}, settings(&guided)), Unsupported);
  const SpanGrammar spans = grammar(1.0, 1.0);
  GenerationOptions options = settings(&spans);
  options.max_new_tokens = 0;
  EXPECT_TRUE(run(*model, {4}, options).empty());
}

// Log-probabilities are those of the raw logits of every step, whatever the sampling.
TEST(Generate, LogprobsAreOfTheModelItself) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.max_new_tokens = 12;
  options.sampling.frequency_penalty = 1.5;
  options.sampling.logit_bias = {{7, 2.0}};
  options.top_logprobs = 3;
  std::vector<TokenLogprobs> given;
  options.on_logprobs = [&](int64_t row, const TokenLogprobs& token) {
    EXPECT_EQ(row, 0);
    given.push_back(token);
  };
  Ids all = {4, 9};
  const Ids output = run(*model, all, options);
  ASSERT_EQ(given.size(), output.size());
  for (size_t i = 0; i < output.size(); ++i) {
    const Tensor logits = at::tensor(logits_after(*model, all)).log_softmax(0);
    EXPECT_EQ(given[i].id, output[i]);
    EXPECT_NEAR(given[i].logprob, logits[output[i]].item<float>(), 1e-4);
    const auto [values, ids] = logits.topk(3);
    for (int64_t k = 0; k < 3; ++k) {
      EXPECT_EQ(given[i].top[static_cast<size_t>(k)].first, ids[k].item<int64_t>());
      EXPECT_NEAR(given[i].top[static_cast<size_t>(k)].second, values[k].item<float>(), 1e-4);
    }
    all.push_back(output[i]);
  }
}

TEST(Generate, NoNgramTwiceAndNoEarlyEnd) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.sampling = {.min_new_tokens = 9};
  for (int64_t id = 2; id < kVocabulary; ++id) {
    options.end_ids.push_back(id);  // everything but 0 would end it
  }
  const Ids output = run(*model, {4, 9}, options);
  ASSERT_GE(output.size(), 9U);
  EXPECT_EQ(Ids(output.begin(), output.begin() + 9), Ids(9, 0));
  options.end_ids.clear();
  options.sampling = {.no_repeat_ngram = 2};
  Ids all = run(*model, {4, 9}, options);
  EXPECT_EQ(all.size(), 60U);
  all.insert(all.begin(), {4, 9});
  std::map<std::pair<int64_t, int64_t>, int> seen;
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(++seen[std::make_pair(all[i - 1], all[i])], 1);
  }
}

}  // namespace
}  // namespace tessera::nn
