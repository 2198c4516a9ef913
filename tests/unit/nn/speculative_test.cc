// Against plain decoding, and against exact distributions computed from the model's logits.
#include "nn/speculative.h"

#include "core/error.h"
#include "unit/nn/tiny_model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace tessera::nn {
namespace {

Ids plain(SequenceModel& model, const Ids& prompt, const GenerationOptions& options) {
  const c10::InferenceMode inference;
  const Tensor out = generate(model, at::tensor(prompt, at::kLong).unsqueeze(0), {}, options);
  const int64_t* ids = out.const_data_ptr<int64_t>();
  return {ids + prompt.size(), ids + out.numel()};
}

Ids speculative(SequenceModel& model,
                const Ids& prompt,
                const GenerationOptions& options,
                const SpeculativeOptions& speculation,
                SpeculativeStats* stats = nullptr) {
  const c10::InferenceMode inference;
  return generate_speculative(model, prompt, options, speculation, {}, stats);
}

std::shared_ptr<SequenceModel> other_model() {
  return std::dynamic_pointer_cast<SequenceModel>(bundled_model("LlamaForCausalLM",
                                                                {{"vocab_size", kVocabulary},
                                                                 {"hidden_size", 16},
                                                                 {"intermediate_size", 24},
                                                                 {"num_hidden_layers", 1},
                                                                 {"num_attention_heads", 2},
                                                                 {"max_position_embeddings", 64},
                                                                 {"initializer_range", 0.4}},
                                                                7));
}

TEST(Speculative, LookUpFindsTheLatestLongestMatch) {
  const Ids history = {1, 2, 3, 9, 2, 3, 8, 7, 1, 2, 3};
  EXPECT_EQ(look_up(history, 3, 2), (Ids{9, 2}));
  EXPECT_EQ(look_up(history, 2, 2), (Ids{8, 7}));
  EXPECT_EQ(look_up(history, 2, 100), (Ids{8, 7, 1, 2, 3}));
  EXPECT_EQ(look_up(history, 2, 0), Ids());
  EXPECT_EQ(look_up(Ids{5, 5}, 3, 4), (Ids{5}));
  EXPECT_EQ(look_up(Ids{5, 6}, 3, 4), Ids());
  EXPECT_EQ(look_up(Ids{5}, 3, 4), Ids());
  EXPECT_EQ(look_up(Ids{}, 3, 4), Ids());
}

TEST(Speculative, GreedyAndLookUpGiveTheIdsOfPlainDecoding) {
  const auto model = tiny_model();
  const auto draft = other_model();
  int64_t accepted = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    GenerationOptions options = settings(nullptr);
    options.seed = seed;
    options.max_new_tokens = 1 + static_cast<int64_t>(seed) * 13;
    options.sampling.no_repeat_ngram = seed % 2 == 0 ? 0 : 4;
    for (const bool greedy : {false, true}) {
      options.sampling.greedy = greedy;
      const Ids prompt = {4, 8, 15, 4, 8, static_cast<int64_t>(20 + seed)};
      const Ids expected = plain(*model, prompt, options);
      for (const int64_t length : {1, 3, 9}) {
        SpeculativeStats stats;
        EXPECT_EQ(speculative(*model, prompt, options, {.draft_tokens = length}, &stats), expected);
        accepted += stats.accepted;
        EXPECT_LE(stats.accepted, stats.drafted);
        if (greedy) {
          EXPECT_EQ(
              speculative(*model, prompt, options, {.draft = draft.get(), .draft_tokens = length}),
              expected);
        }
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

// The model as its own draft: everything is taken, and steps are few.
TEST(Speculative, ItsOwnDraftIsAlwaysTaken) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.end_ids = {};
  options.max_new_tokens = 25;
  options.sampling.greedy = true;
  SpeculativeStats stats;
  speculative(*model, {4, 8}, options, {.draft = model.get(), .draft_tokens = 4}, &stats);
  EXPECT_EQ(stats.accepted, stats.drafted);
  EXPECT_EQ(stats.steps, 5);
  EXPECT_EQ(stats.finish, Finish::kLength);
}

std::vector<float> distribution(SequenceModel& model,
                                const Ids& all,
                                const SamplingParams& params) {
  const c10::InferenceMode inference;
  const Step step{.ids = at::tensor(all, at::kLong).unsqueeze(0), .positions = {}, .key_mask = {}};
  const Tensor last = model.step(step, nullptr).select(1, -1).contiguous();
  std::vector<float> scores(last.const_data_ptr<float>(),
                            last.const_data_ptr<float>() + last.numel());
  process_logits(scores, params, {.history = all, .prompt = 4, .end_ids = {}});
  softmax(scores);
  return scores;
}

// Four ids for which the look-up proposes the second of them, as likely as possible.
Ids proposing_prompt(SequenceModel& model, const SamplingParams& params) {
  Ids best;
  float most = 0;
  for (int64_t id = 9; id < kVocabulary; ++id) {
    const float likely = distribution(model, {8, id, 4, 8}, params)[static_cast<size_t>(id)];
    if (likely > most) {
      most = likely;
      best = {8, id, 4, 8};
    }
  }
  return best;
}

// Pairs of the first two new ids, against their exact joint distribution: chi-square below
// its 99.9 % quantile (Wilson and Hilferty's approximation), rare pairs taken together.
void expect_exact(const SpeculativeOptions& speculation) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.sampling = {.greedy = false, .temperature = 1.3, .top_k = 12, .repetition_penalty = 1.2};
  options.end_ids = {};
  options.max_new_tokens = 3;
  const Ids prompt = proposing_prompt(*model, options.sampling);
  std::map<std::pair<int64_t, int64_t>, double> expected;
  const std::vector<float> first = distribution(*model, prompt, options.sampling);
  for (int64_t a = 0; a < kVocabulary; ++a) {
    if (first[static_cast<size_t>(a)] > 0) {
      const std::vector<float> second =
          distribution(*model, {8, prompt[1], 4, 8, a}, options.sampling);
      for (int64_t b = 0; b < kVocabulary; ++b) {
        if (second[static_cast<size_t>(b)] > 0) {
          expected[{a, b}] = first[static_cast<size_t>(a)] * second[static_cast<size_t>(b)];
        }
      }
    }
  }
  constexpr int kDraws = 4000;
  std::map<std::pair<int64_t, int64_t>, int> seen;
  int64_t drafted = 0;
  int64_t accepted = 0;
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<uint64_t>(i);
    SpeculativeStats stats;
    const Ids ids = speculative(*model, prompt, options, speculation, &stats);
    ASSERT_EQ(ids.size(), 3U);
    ASSERT_TRUE(expected.contains({ids[0], ids[1]})) << ids[0] << ", " << ids[1];
    ++seen[{ids[0], ids[1]}];
    drafted += stats.drafted;
    accepted += stats.accepted;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, drafted);
  double chi = 0;
  double rare_expected = 0;
  double rare_seen = 0;
  int cells = 1;
  for (const auto& [pair, probability] : expected) {
    const double count = kDraws * probability;
    if (count < 8) {
      rare_expected += count;
      rare_seen += seen[pair];
    } else {
      chi += std::pow(seen[pair] - count, 2) / count;
      ++cells;
    }
  }
  chi += std::pow(rare_seen - rare_expected, 2) / std::max(rare_expected, 1.0);
  const double freedom = cells - 1;
  const double spread = 2.0 / (9.0 * freedom);
  EXPECT_GT(cells, 10);
  EXPECT_LT(chi, freedom * std::pow(1.0 - spread + 3.09 * std::sqrt(spread), 3))
      << freedom << " degrees of freedom";
}

TEST(Speculative, ADraftModelLeavesTheDistributionAsItIs) {
  const auto draft = other_model();
  expect_exact({.draft = draft.get(), .draft_tokens = 2});
}

TEST(Speculative, LookUpLeavesTheDistributionAsItIs) {
  expect_exact({.draft = nullptr, .draft_tokens = 2});
}

TEST(Speculative, CallbacksStopAndWrongSettingsAreNamed) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.end_ids = {};
  int calls = 0;
  SpeculativeStats stats;
  const c10::InferenceMode inference;
  const Ids ids = generate_speculative(
      *model, {4, 4, 4}, options, {}, [&](int64_t, int64_t) { return ++calls < 3; }, &stats);
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_EQ(stats.finish, Finish::kStopped);
  EXPECT_THROW(generate_speculative(*model, {}, options, {}), InvalidArgument);
  EXPECT_THROW(generate_speculative(*model, {4}, options, {.draft_tokens = 0}), InvalidArgument);
  const SpanGrammar spans = grammar();
  EXPECT_THROW(generate_speculative(*model, {4}, settings(&spans), {}), InvalidArgument);
  options.max_new_tokens = 0;
  EXPECT_TRUE(generate_speculative(*model, {4}, options, {}).empty());
}

}  // namespace
}  // namespace tessera::nn
