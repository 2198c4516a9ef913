// Constraints in the loops of generation: a toy one over the ids of the tiny model, whose outputs
// are checked by hand.
#include "nn/constraint.h"

#include "core/error.h"
#include "nn/beam.h"
#include "nn/engine.h"
#include "nn/speculative.h"
#include "unit/nn/tiny_model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace tessera::nn {
namespace {

// Ids rise from one to the next, all from 10 to 31 (the mask has one word); 31 is the last.
class Rising : public TokenConstraint {
 public:
  explicit Rising(bool may_end) : may_end_(may_end) {}
  std::span<const uint32_t> mask() override {
    bits_ = last_ >= 31 ? 0U : ~0U << (last_ + 1);
    bits_ |= may_end() ? 2U : 0U;
    return {&bits_, 1};
  }
  bool accept(int64_t id) override {
    if (id == 1 || (id > last_ && id < 32)) {
      last_ = std::max(last_, id);
      return true;
    }
    return false;
  }
  bool may_end() const override { return may_end_ && last_ > 12; }
  bool must_end() const override { return may_end_ && last_ == 31; }

 private:
  bool may_end_;
  int64_t last_ = 9;
  uint32_t bits_ = 0;
};

GenerationOptions rising(uint64_t seed, bool may_end = true) {
  GenerationOptions options = settings(nullptr);
  options.seed = seed;
  options.constraint = [may_end] { return std::make_unique<Rising>(may_end); };
  return options;
}

bool fits(const Ids& ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool last = i + 1 == ids.size();
    if (last && ids[i] == 1) {
      return i > 0 && ids[i - 1] > 12;
    }
    if (ids[i] <= (i == 0 ? 9 : ids[i - 1]) || ids[i] > 31) {
      return false;
    }
  }
  return !ids.empty() && ids.back() == 31;
}

Ids run(SequenceModel& model, const GenerationOptions& options, std::vector<Finish>* finish) {
  const c10::InferenceMode inference;
  const Tensor out =
      generate(model, at::tensor({4, 8}, at::kLong).unsqueeze(0), {}, options, {}, finish);
  const int64_t* ids = out.const_data_ptr<int64_t>();
  return {ids + 2, ids + out.numel()};
}

TEST(Constraint, OutputsFitInEveryLoop) {
  const auto model = tiny_model();
  Engine engine(model, {.cache_tokens = 2048, .sequences = 5});
  std::vector<Ids> expected(20), got(20);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    GenerationOptions options = rising(seed);
    options.sampling.greedy = seed % 5 == 4;
    std::vector<Finish> finish;
    expected[seed] = run(*model, options, &finish);
    EXPECT_TRUE(fits(expected[seed])) << "seed " << seed;
    EXPECT_EQ(finish, std::vector<Finish>{Finish::kEnd});
    const c10::InferenceMode inference;
    EXPECT_EQ(generate_speculative(*model, {4, 8}, options, {}), expected[seed]);
    EXPECT_TRUE(fits(generate_speculative(*model, {4, 8}, options, {.draft = model.get()})));
    engine.submit({.prompt = {4, 8},
                   .options = options,
                   .on_token =
                       [&got, seed](int64_t id) {
                         got[seed].push_back(id);
                         return true;
                       },
                   .on_finish = [](Finish f) { EXPECT_EQ(f, Finish::kEnd); }});
  }
  engine.run();
  EXPECT_EQ(got, expected);
}

// Without an end the last id leaves nothing: that request fails, the others do not notice.
TEST(Constraint, ADeadEndFailsItsOwnRequestAlone) {
  const auto model = tiny_model();
  EXPECT_THROW(run(*model, rising(0, false), nullptr), Unsupported);
  Engine engine(model, {.cache_tokens = 2048});
  std::string message;
  Ids other;
  bool finished = false;
  engine.submit({.prompt = {4, 8},
                 .options = rising(0, false),
                 .on_finish = [](Finish) { ADD_FAILURE() << "it failed"; },
                 .on_error =
                     [&](const std::exception_ptr& error) {
                       try {
                         std::rethrow_exception(error);
                       } catch (const Unsupported& caught) {
                         message = caught.what();
                       }
                     }});
  engine.submit({.prompt = {4, 8},
                 .options = rising(3),
                 .on_token =
                     [&](int64_t id) {
                       other.push_back(id);
                       return true;
                     },
                 .on_finish = [&](Finish) { finished = true; }});
  engine.run();
  EXPECT_NE(message.find("leave no token"), std::string::npos) << message;
  EXPECT_TRUE(finished);
  EXPECT_EQ(other, run(*model, rising(3), nullptr));
  EXPECT_EQ(engine.stats().cache_usage, 0.0);
  engine.submit({.prompt = {4, 8}, .options = rising(0, false)});
  EXPECT_THROW(engine.run(), Unsupported);
}

// What the settings ban beside ends an output that may end.
TEST(Constraint, BansYieldToTheEnd) {
  const auto model = tiny_model();
  GenerationOptions options = rising(1);
  options.sampling.min_new_tokens = 60;
  for (int64_t id = 14; id < 32; ++id) {
    options.sampling.logit_bias.emplace_back(id, -INFINITY);
  }
  const Ids ids = run(*model, options, nullptr);
  ASSERT_GE(ids.size(), 2U);
  EXPECT_EQ(ids.back(), 1);
  EXPECT_EQ(ids[ids.size() - 2], 13);
}

class Nothing : public TokenConstraint {
 public:
  std::span<const uint32_t> mask() override { return {}; }
  bool accept(int64_t) override { return false; }
  bool may_end() const override { return true; }
  bool must_end() const override { return true; }
};

TEST(Constraint, TheEmptyTextNeedsNoToken) {
  const auto model = tiny_model();
  GenerationOptions options = settings(nullptr);
  options.constraint = [] { return std::make_unique<Nothing>(); };
  std::vector<Finish> finish;
  EXPECT_TRUE(run(*model, options, &finish).empty());
  EXPECT_EQ(finish, std::vector<Finish>{Finish::kEnd});
  Engine engine(model, {.cache_tokens = 512});
  std::optional<Finish> ended;
  engine.submit({.prompt = {4},
                 .options = options,
                 .on_token =
                     [](int64_t) {
                       ADD_FAILURE() << "an id";
                       return true;
                     },
                 .on_finish = [&](Finish f) { ended = f; }});
  engine.run();
  EXPECT_EQ(ended, Finish::kEnd);
  EXPECT_THROW(beam_search(*model, at::tensor({4, 8}, at::kLong).unsqueeze(0), {}, options, {}),
               InvalidArgument);
}

// Engine requests have their own log-probabilities: of the raw logits, with alternatives.
TEST(Constraint, LogprobsAreThoseWithoutIt) {
  const auto model = tiny_model();
  GenerationOptions options = rising(2);
  options.top_logprobs = 4;
  std::vector<TokenLogprobs> told;
  options.on_logprobs = [&](int64_t, const TokenLogprobs& token) { told.push_back(token); };
  Engine engine(model, {.cache_tokens = 512});
  engine.submit({.prompt = {4, 8}, .options = options});
  engine.run();
  ASSERT_FALSE(told.empty());
  const c10::InferenceMode inference;
  Ids all = {4, 8};
  for (const TokenLogprobs& token : told) {
    const Step step{
        .ids = at::tensor(all, at::kLong).unsqueeze(0), .positions = {}, .key_mask = {}};
    const Tensor expected = at::log_softmax(model->step(step, nullptr).select(1, -1)[0], 0);
    EXPECT_NEAR(token.logprob, expected[token.id].item<float>(), 1e-4);
    const auto [values, ids] = at::topk(expected, 4);
    ASSERT_EQ(token.top.size(), 4U);
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(token.top[static_cast<size_t>(i)].first, ids[i].item<int64_t>());
      EXPECT_NEAR(token.top[static_cast<size_t>(i)].second, values[i].item<float>(), 1e-4);
    }
    all.push_back(token.id);
  }
}

}  // namespace
}  // namespace tessera::nn
