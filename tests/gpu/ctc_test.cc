// CTC on the GPU against libtorch's on the CPU: losses and gradients.
#include "ops/device.h"
#include "train/losses.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::train {
namespace {

struct Shape {
  int64_t texts, time, classes, symbols;
};

class GpuCtc : public testing::TestWithParam<Shape> {};

TEST_P(GpuCtc, EqualsTheCpus) {
  const at::Device gpu = ops::open_device("cuda");
  const auto [texts, time, classes, symbols] = GetParam();
  at::manual_seed(texts * 1000 + time);
  const at::Tensor scores = at::randn({texts, time, classes});
  at::Tensor targets = at::randint(1, classes, {texts, symbols}, at::kLong);
  if (symbols > 2) {
    targets.select(1, 1).copy_(targets.select(1, 0));  // a repeated symbol needs a blank between
  }
  at::Tensor lengths = at::randint(0, symbols + 1, {texts}, at::kLong);
  at::Tensor frames = at::randint(1, time + 1, {texts}, at::kLong);  // some texts do not fit
  lengths[0] = 0;
  frames[0] = time;
  lengths[-1] = symbols;
  frames[-1] = time;
  const auto run = [&](at::Device device) {
    const at::Tensor leaf = scores.to(device).detach().clone().requires_grad_(true);
    const at::Tensor loss = transcription_loss(leaf.log_softmax(-1), targets.to(device),
                                               frames.to(device), lengths.to(device));
    loss.backward();
    return std::pair(loss.detach().cpu(), leaf.grad().cpu());
  };
  const auto [loss, gradient] = run(at::kCPU);
  const auto [own_loss, own_gradient] = run(gpu);
  EXPECT_TRUE(at::allclose(own_loss, loss, 1e-4, 1e-5)) << own_loss << loss;
  EXPECT_TRUE(at::allclose(own_gradient, gradient, 1e-3, 1e-5))
      << (own_gradient - gradient).abs().max();
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         GpuCtc,
                         testing::Values(Shape{1, 1, 2, 1},
                                         Shape{3, 7, 5, 3},
                                         Shape{16, 200, 31, 60},
                                         Shape{5, 400, 40, 190},
                                         Shape{2, 900, 33, 400}));

}  // namespace
}  // namespace tessera::train
