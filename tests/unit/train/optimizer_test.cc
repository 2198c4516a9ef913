// Against torch 2.11 (tests/parity/optim.py).
#include "train/optimizer.h"

#include "core/error.h"
#include "nn/tensor_file.h"
#include "train/cross_entropy.h"
#include "train/schedule.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

#include <limits>

namespace tessera::train {
namespace {

const nn::NamedTensors& goldens() {
  static const nn::NamedTensors tensors =
      nn::read_tensors(io::fs::path(TESSERA_GOLDENS) / "train" / "optim.safetensors");
  return tensors;
}

void expect_near(const Tensor& actual,
                 const Tensor& expected,
                 double bound,
                 const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  EXPECT_LE((actual - expected).abs().max().item<double>(), bound) << what;
}

TEST(AdamW, FiveStepsAsTorch) {
  const nn::NamedTensors& g = goldens();
  std::vector<std::pair<std::string, Tensor>> parameters;
  for (const char* name : {"0.weight", "0.bias", "2.weight", "2.bias"}) {
    parameters.emplace_back(name, g.at("adamw.0." + std::string(name)).clone());
  }
  AdamW optimizer(
      default_groups(parameters),
      {.lr = 0.05, .beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1, .clip = 0.05, .ema = 0.9});
  const ScheduleOptions schedule{.steps = 5, .min_lr = 0.1};
  for (int step = 1; step <= 5; ++step) {
    optimizer.set_learning_rate(learning_rate_factor(schedule, step - 1));
    optimizer.zero_grad();
    const auto& p = parameters;
    const Tensor y = at::linear(at::linear(g.at("adamw.x"), p[0].second, p[1].second).tanh(),
                                p[2].second, p[3].second);
    torch::autograd::backward({at::mse_loss(y, g.at("adamw.y"))});
    optimizer.step();
    const std::string prefix = fmt::format("adamw.{}.", step);
    expect_near(optimizer.grad_norm(), g.at(prefix + "norm"), 1e-6, prefix + "norm");
    EXPECT_GT(optimizer.grad_norm().item<double>(), 0.05);  // clipping is at work
    const nn::NamedTensors state = optimizer.state();
    for (const auto& [name, tensor] : parameters) {
      expect_near(tensor.detach(), g.at(prefix + name), 1e-6, prefix + name);
      expect_near(state.at("average." + name), g.at(prefix + "average." + name), 1e-6,
                  prefix + "average." + name);
    }
  }
  EXPECT_EQ(optimizer.skipped().item<double>(), 0);
  const Tensor before = parameters[0].second.detach().clone();
  {
    const AdamW::AverageScope average(optimizer);
    expect_near(parameters[0].second.detach(), g.at("adamw.5.average.0.weight"), 1e-6, "average");
  }
  EXPECT_TRUE(parameters[0].second.detach().equal(before));
}

TEST(AdamW, NonFiniteGradientsChangeNothing) {
  Tensor w = at::ones({3, 2});
  AdamW optimizer(default_groups({{"w", w}}), {});
  const auto step = [&](double gradient) {
    optimizer.zero_grad();
    w.mutable_grad().fill_(gradient);
    optimizer.step();
  };
  step(0.5);
  const Tensor before = w.detach().clone();
  const Tensor moment = optimizer.state().at("exp_avg.w").clone();
  step(std::numeric_limits<double>::quiet_NaN());
  step(std::numeric_limits<double>::infinity());
  EXPECT_TRUE(w.detach().equal(before));
  EXPECT_TRUE(optimizer.state().at("exp_avg.w").equal(moment));
  EXPECT_EQ(optimizer.state().at("step").item<double>(), 1);
  EXPECT_EQ(optimizer.skipped().item<double>(), 2);
  step(0.5);
  EXPECT_FALSE(w.detach().equal(before));
  EXPECT_EQ(optimizer.state().at("step").item<double>(), 2);
}

TEST(AdamW, StateOfAnotherModelIsRefused) {
  AdamW optimizer(default_groups({{"w", at::ones({3, 2})}}), {});
  nn::NamedTensors state = optimizer.state();
  state["exp_avg.w"] = at::ones({2, 3});
  EXPECT_THROW(optimizer.load_state(state), CorruptFile);
  state.erase("exp_avg.w");
  EXPECT_THROW(optimizer.load_state(state), CorruptFile);
}

TEST(Schedule, FactorsAsTorch) {
  const auto check = [](const ScheduleOptions& options, const Tensor& expected) {
    for (int64_t i = 0; i < expected.numel(); ++i) {
      EXPECT_NEAR(learning_rate_factor(options, static_cast<double>(i)),
                  expected.const_data_ptr<double>()[i], 1e-12)
          << i;
    }
  };
  check({.kind = ScheduleKind::kCosine, .steps = 50, .warmup = 7, .min_lr = 0.1},
        goldens().at("schedule.cosine"));
  check({.kind = ScheduleKind::kWarmupStableDecay,
         .steps = 50,
         .warmup = 5,
         .decay = 12,
         .min_lr = 0.05},
        goldens().at("schedule.wsd"));
}

TEST(Schedule, EndsAndExtremes) {
  const ScheduleOptions cosine{.steps = 10, .min_lr = 0.2};
  EXPECT_EQ(learning_rate_factor(cosine, 0), 1.0);
  EXPECT_NEAR(learning_rate_factor(cosine, 5), 0.6, 1e-12);
  EXPECT_NEAR(learning_rate_factor(cosine, 10), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate_factor(cosine, 1e9), 0.2, 1e-12);
  EXPECT_EQ(learning_rate_factor({.kind = ScheduleKind::kConstant, .steps = 3}, 99), 1.0);
  EXPECT_EQ(learning_rate_factor({.steps = 4, .warmup = 4}, 3), 1.0);
  EXPECT_GT(learning_rate_factor({.steps = 1000, .warmup = 1000}, 0), 0.0);
}

TEST(CrossEntropy, LossAndGradientsAsTorch) {
  const nn::NamedTensors& g = goldens();
  const Tensor hidden = g.at("ce.hidden").clone().requires_grad_(true);
  const Tensor head = g.at("ce.head").clone().requires_grad_(true);
  const CrossEntropy result =
      cross_entropy(hidden, head, g.at("ce.targets"), g.at("ce.weights"), 0.01);
  expect_near(result.loss.detach(), g.at("ce.loss"), 1e-5, "loss");
  expect_near(result.nll, g.at("ce.nll"), 1e-5, "nll");
  EXPECT_FALSE(result.nll.requires_grad());
  torch::autograd::backward({result.loss * 0.3});
  expect_near(hidden.grad(), g.at("ce.hidden_grad"), 1e-6, "hidden");
  expect_near(head.grad(), g.at("ce.head_grad"), 1e-6, "head");
  const at::NoGradGuard no_grad;
  const CrossEntropy plain =
      cross_entropy(hidden, head, g.at("ce.targets"), g.at("ce.weights"), 0.01);
  EXPECT_TRUE(plain.loss.equal(result.loss));
  EXPECT_THROW(cross_entropy(hidden, head.t(), g.at("ce.targets"), g.at("ce.weights")),
               InvalidArgument);
}

// More rows than one chunk holds: 20,000 columns leave 64 rows a chunk.
TEST(CrossEntropy, ChunksDoNotShow) {
  const Tensor hidden = at::randn({150, 4}).requires_grad_(true);
  const Tensor head = at::randn({20000, 4}).requires_grad_(true);
  const Tensor targets = at::randint(20000, {150}, at::kLong);
  const Tensor weights = at::rand({150});
  torch::autograd::backward({cross_entropy(hidden, head, targets, weights).loss});
  const Tensor again = hidden.detach().clone().requires_grad_(true);
  const Tensor head_again = head.detach().clone().requires_grad_(true);
  const Tensor log_probability = at::linear(again, head_again).log_softmax(1);
  torch::autograd::backward(
      {-(log_probability.gather(1, targets.unsqueeze(1)).squeeze(1) * weights).sum()});
  expect_near(hidden.grad(), again.grad(), 1e-4, "hidden");
  expect_near(head.grad(), head_again.grad(), 1e-4, "head");
}

}  // namespace
}  // namespace tessera::train
