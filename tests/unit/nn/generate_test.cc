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

// The last logits of a whole sequence without any cache.
std::vector<float> logits_after(SequenceModel& model, const Ids& ids) {
  const Step step{.ids = at::tensor(ids, at::kLong).unsqueeze(0), .positions = {}, .key_mask = {}};
  const Tensor last = model.step(step, nullptr).select(1, -1).contiguous();
  return {last.const_data_ptr<float>(), last.const_data_ptr<float>() + last.numel()};
}

// The same generation, told plainly: no cache, no batch, the unconditional sequence written out.
Ids plainly(SequenceModel& model, const Ids& prompt, const GenerationOptions& options) {
  const c10::InferenceMode inference;
  Rng rng(options.seed, options.row_streams.empty() ? 0 : options.row_streams[0]);
  SpanState state(*options.spans, options.end_ids, options.max_new_tokens);
  Ids all = prompt;
  Ids output;
  Ids span;  // markers included
  while (static_cast<int64_t>(output.size()) < options.max_new_tokens) {
    std::vector<float> logits = logits_after(model, all);
    const bool inside = state.open() >= 0;
    const SpanRule* rule =
        inside ? &options.spans->rules[static_cast<size_t>(state.open())] : nullptr;
    if (inside && rule->guidance != 1.0) {
      Ids free = options.guidance_prompt;
      free.insert(free.end(), span.begin(), span.end());
      const std::vector<float> u = logits_after(model, free);
      for (size_t i = 0; i < u.size(); ++i) {
        logits[i] = u[i] + static_cast<float>(rule->guidance) * (logits[i] - u[i]);
      }
    }
    state.constrain(logits);
    const SamplingParams& sampling = inside ? rule->sampling : options.sampling;
    const Ids codes = inside ? Ids(span.begin() + 1, span.end()) : Ids();
    process_logits(logits, sampling, {.history = inside ? codes : all});
    const int64_t id = pick(logits, sampling, rng);
    state.accept(id);
    if (state.open() >= 0) {
      span.push_back(id);
    } else {
      span.clear();
    }
    all.push_back(id);
    output.push_back(id);
    if (id == 1) {
      break;
    }
  }
  return output;
}

const std::vector<Ids>& prompts() {
  static const std::vector<Ids> kPrompts = {
      {4, 8, 15, 16, 23}, {42}, {4, 2, 2, 6, 7, 8, 9, 10, 11, 12, 13}, {5, 5}, {20, 21, 22, 23}};
  return kPrompts;
}

TEST(Generate, SpansAndGuidanceEqualThePlainComputation) {
  const auto model = tiny_model();
  for (const double sound_guidance : {1.0, 3.0, 0.0}) {
    const SpanGrammar spans = grammar(sound_guidance);
    for (uint64_t seed = 0; seed < 2; ++seed) {
      GenerationOptions options = settings(&spans);
      options.seed = seed;
      for (const Ids& prompt : prompts()) {
        EXPECT_EQ(run(*model, prompt, options), plainly(*model, prompt, options));
      }
    }
  }
}

// Without guidance other ids come out: the test above would see it if none were applied.
TEST(Generate, GuidanceChangesTheSpan) {
  const auto model = tiny_model();
  SpanGrammar spans = grammar();
  const Ids guided = run(*model, prompts()[0], settings(&spans));
  spans.rules[0].guidance = 1.0;
  EXPECT_NE(run(*model, prompts()[0], settings(&spans)), guided);
}

TEST(Generate, ARowDoesNotDependOnTheOthers) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(2.0);
  const auto rows = static_cast<int64_t>(prompts().size());
  for (uint64_t seed = 0; seed < 6; ++seed) {
    GenerationOptions options = settings(&spans);
    options.seed = seed;
    options.row_limits = {60, 7, 45, 0, 33};
    options.row_streams = {0, 0, 9, 1, 2};
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
      const auto at = static_cast<size_t>(b);
      GenerationOptions alone = settings(&spans);
      alone.seed = seed;
      alone.max_new_tokens = options.row_limits[at];
      alone.row_streams = {options.row_streams[at]};
      EXPECT_EQ(told[b], run(*model, prompts()[at], alone)) << "row " << b << ", seed " << seed;
    }
  }
}

TEST(Generate, StoppedRowsLeaveTheOthersAlone) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar();
  const GenerationOptions options = settings(&spans);
  const c10::InferenceMode inference;
  const Tensor ids = at::tensor({4, 8, 15, 4, 8, 15}, at::kLong).view({2, 3});
  GenerationOptions same = options;
  same.row_streams = {0, 0};
  int64_t calls = 0;
  const Tensor out = generate(*model, ids, {}, same, [&](int64_t row, int64_t) {
    calls += row == 0 ? 1 : 0;
    return row == 1 || calls < 4;
  });
  EXPECT_EQ(calls, 4);
  const Ids alone = run(*model, {4, 8, 15}, options);
  for (int64_t i = 0; i < static_cast<int64_t>(alone.size()); ++i) {
    EXPECT_EQ(out[1][3 + i].item<int64_t>(), alone[static_cast<size_t>(i)]);
    EXPECT_EQ(out[0][3 + i].item<int64_t>(), i < 4 ? alone[static_cast<size_t>(i)] : 0);
  }
}

// A cache that holds any beginning of the prompt gives the same ids, and may be used again.
TEST(Generate, GoesOnFromACachedPrefix) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar();
  const GenerationOptions options = settings(&spans);
  const Ids& prompt = prompts()[2];
  const Ids expected = run(*model, prompt, options);
  const c10::InferenceMode inference;
  const auto cache = model->make_cache();
  const Tensor ids = at::tensor(prompt, at::kLong).unsqueeze(0);
  for (const int64_t kept : {0, 1, 5, 10}) {
    cache->truncate(std::min(kept, cache->length()));
    const Tensor out = generate(*model, ids, {}, options, {}, cache.get());
    EXPECT_EQ(Ids(out.const_data_ptr<int64_t>() + prompt.size(),
                  out.const_data_ptr<int64_t>() + out.numel()),
              expected);
    EXPECT_EQ(cache->length(), out.size(1) - 1);
  }
  EXPECT_THROW(generate(*model, ids, {}, options, {}, cache.get()), InvalidArgument);  // too long
  EXPECT_THROW(cache->truncate(cache->length() + 1), InvalidArgument);
  cache->truncate(0);
  EXPECT_THROW(generate(*model, ids.expand({2, -1}), {}, options, {}, cache.get()),
               InvalidArgument);
}

TEST(Generate, RefusesWhatDoesNotFit) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar();
  GenerationOptions options = settings(&spans);
  options.guidance_prompt.clear();
  EXPECT_THROW(run(*model, {4}, options), InvalidArgument);
  options = settings(&spans);
  options.row_limits = {1, 2};
  EXPECT_THROW(run(*model, {4}, options), InvalidArgument);
  options = settings(&spans);
  options.row_streams = {1, 2};
  EXPECT_THROW(run(*model, {4}, options), InvalidArgument);
  options.row_streams.clear();
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
