#include "nn/beam.h"

#include "core/error.h"
#include "unit/models/bundled.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace tessera::nn {
namespace {

using Ids = std::vector<int64_t>;

constexpr int64_t kVocabulary = 4;
constexpr int64_t kEnd = 2;

std::shared_ptr<SequenceModel> tiny_model() {
  at::set_num_threads(1);
  return std::dynamic_pointer_cast<SequenceModel>(
      bundled_model("LlamaForCausalLM", {{"vocab_size", kVocabulary},
                                         {"hidden_size", 16},
                                         {"intermediate_size", 24},
                                         {"num_hidden_layers", 1},
                                         {"num_attention_heads", 2},
                                         {"max_position_embeddings", 64},
                                         {"initializer_range", 0.4}}));
}

GenerationOptions settings(int64_t tokens) {
  GenerationOptions options;
  options.max_new_tokens = tokens;
  options.end_ids = {kEnd};
  return options;
}

Tensor row(const Ids& ids) {
  return at::tensor(ids, at::kLong).unsqueeze(0);
}

Ids list(const Tensor& ids) {
  const Tensor flat = ids.contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

// Log-probabilities of every output: sequences of at most `tokens` ids that stop at the end id.
void enumerate(SequenceModel& model,
               const Ids& prompt,
               const Ids& output,
               double score,
               size_t tokens,
               std::map<Ids, double>& all) {
  if (output.size() == tokens || (!output.empty() && output.back() == kEnd)) {
    all[output] = score;
    return;
  }
  Ids whole = prompt;
  whole.insert(whole.end(), output.begin(), output.end());
  const Step step{.ids = row(whole), .positions = {}, .key_mask = {}};
  const Tensor logprobs = model.step(step, nullptr).select(1, -1).log_softmax(-1);
  for (int64_t id = 0; id < kVocabulary; ++id) {
    Ids next = output;
    next.push_back(id);
    enumerate(model, prompt, next, score + logprobs[0][id].item<double>(), tokens, all);
  }
}

// With as many beams as there are sequences nothing is pruned: the best of all must come out.
TEST(BeamSearch, ManyBeamsFindTheBestOfAll) {
  const c10::InferenceMode inference;
  const auto model = tiny_model();
  const Ids prompt = {1, 3, 0};
  std::map<Ids, double> all;
  enumerate(*model, prompt, {}, 0, 3, all);
  for (const double penalty : {0.0, 1.0, 2.0}) {
    std::vector<std::pair<double, Ids>> best;
    for (const auto& [ids, score] : all) {
      best.emplace_back(score / std::pow(static_cast<double>(ids.size()), penalty), ids);
    }
    std::sort(best.rbegin(), best.rend());
    const BeamOptions beams{.beams = 64,
                            .returned = 5,
                            .length_penalty = penalty,
                            .early_stopping = BeamOptions::EarlyStopping::kNever};
    const BeamResult found = beam_search(*model, row(prompt), {}, settings(3), beams);
    ASSERT_EQ(found.sequences.size(0), 5);
    for (int64_t i = 0; i < 5; ++i) {
      Ids expected = prompt;
      const Ids& output = best[static_cast<size_t>(i)].second;
      expected.insert(expected.end(), output.begin(), output.end());
      expected.resize(static_cast<size_t>(found.sequences.size(1)), kEnd);
      EXPECT_EQ(list(found.sequences[i]), expected) << penalty;
      EXPECT_NEAR(found.scores[static_cast<size_t>(i)], best[static_cast<size_t>(i)].first, 1e-4);
    }
  }
}

TEST(BeamSearch, OneBeamIsGreedy) {
  const c10::InferenceMode inference;
  const auto model = tiny_model();
  const Tensor prompt = row({3, 1});
  const GenerationOptions options = settings(7);
  EXPECT_EQ(list(beam_search(*model, prompt, {}, options, {.beams = 1}).sequences),
            list(generate(*model, prompt, {}, options)));
}

// A row comes out as it does alone, whatever padding and neighbours it has.
TEST(BeamSearch, RowsDoNotSeeEachOther) {
  const c10::InferenceMode inference;
  const auto model = tiny_model();
  const GenerationOptions options = settings(5);
  const BeamOptions beams{.beams = 3};
  const Tensor ids = at::tensor({0, 0, 1, 3, 3, 1, 0, 1}, at::kLong).view({2, 4});
  const Tensor mask = at::tensor({0, 0, 1, 1, 1, 1, 1, 1}, at::kLong).view({2, 4});
  const BeamResult both = beam_search(*model, ids, mask, options, beams);
  const BeamResult first = beam_search(*model, row({1, 3}), {}, options, beams);
  const BeamResult second = beam_search(*model, row({3, 1, 0, 1}), {}, options, beams);
  EXPECT_NEAR(both.scores[0], first.scores[0], 1e-5);
  EXPECT_NEAR(both.scores[1], second.scores[0], 1e-5);
}

// Two beams of one token are two draws without replacement from the first distribution.
TEST(BeamSearch, SampledBeamsAreDrawsWithoutReplacement) {
  const c10::InferenceMode inference;
  const auto model = tiny_model();
  const Ids prompt = {3, 0};
  std::map<Ids, double> all;
  enumerate(*model, prompt, {}, 0, 1, all);
  GenerationOptions options = settings(1);
  options.sampling.greedy = false;
  constexpr int kDraws = 4000;
  std::vector<int> pairs(16, 0);
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<uint64_t>(i);
    const BeamResult found =
        beam_search(*model, row(prompt), {}, options, {.beams = 2, .returned = 2});
    const Ids last = list(found.sequences.select(1, 2));
    ++pairs[static_cast<size_t>(std::min(last[0], last[1]) * 4 + std::max(last[0], last[1]))];
  }
  for (int64_t a = 0; a < kVocabulary; ++a) {
    for (int64_t b = a + 1; b < kVocabulary; ++b) {
      const double p = std::exp(all[{a}]);
      const double q = std::exp(all[{b}]);
      const double expected = p * q / (1 - p) + q * p / (1 - q);
      const double sigma = std::sqrt(expected * (1 - expected) / kDraws);
      EXPECT_NEAR(pairs[static_cast<size_t>(a * 4 + b)] / static_cast<double>(kDraws), expected,
                  5 * sigma + 1e-9);
    }
  }
}

TEST(BeamSearch, BadOptionsAreRefused) {
  const auto model = tiny_model();
  const Tensor prompt = row({1});
  EXPECT_THROW(beam_search(*model, prompt, {}, settings(3), {.beams = 0}), InvalidArgument);
  EXPECT_THROW(beam_search(*model, prompt, {}, settings(3), {.beams = 2, .returned = 3}),
               InvalidArgument);
  EXPECT_THROW(beam_search(*model, at::empty({1, 0}, at::kLong), {}, settings(3), {}),
               InvalidArgument);
}

}  // namespace
}  // namespace tessera::nn
