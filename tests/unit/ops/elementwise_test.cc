#include "ops/elementwise.h"

#include "ops/cpu/dispatch.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

#include <limits>

namespace tessera::ops {
namespace {

double worst(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor error = (actual.to(at::kDouble) - expected).abs();
  return (error / expected.abs().clamp_min(1e-20)).max().item<double>();
}

at::Tensor norm_in_double(const at::Tensor& x, double epsilon) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide * (wide.square().mean(-1, true) + epsilon).rsqrt();
}

at::Tensor silu_in_double(const at::Tensor& gate, const at::Tensor& up) {
  const at::Tensor wide = gate.to(at::kDouble);
  return wide / (1.0 + (-wide).exp()) * up.to(at::kDouble);
}

TEST(RmsNorm, EqualsDoubleAtEveryWidthAndInstructionSet) {
  for (const int64_t width : {1, 3, 8, 15, 16, 31, 33, 64, 100, 2048}) {
    const at::Tensor x = at::randn({width}) * 3;
    const at::Tensor weight = at::randn({width});
    const at::Tensor expected = norm_in_double(x, 1e-5);
    for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
      if (const cpu::Kernels* kernels = cpu::kernels_of(isa)) {
        at::Tensor y = at::empty({width});
        kernels->rms_norm(x.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                          y.data_ptr<float>(), width, 1e-5F);
        EXPECT_LT(worst(y, expected * weight), 2e-6) << cpu::isa_name(isa) << " " << width;
        kernels->rms_norm(x.const_data_ptr<float>(), nullptr, y.data_ptr<float>(), width, 1e-5F);
        EXPECT_LT(worst(y, expected), 2e-6) << cpu::isa_name(isa) << " " << width;
      }
    }
  }
}

TEST(RmsNorm, ShapesViewsGradientsAndTypes) {
  const at::Tensor weight = at::randn({20});
  const at::Tensor x = at::randn({2, 3, 40}).narrow(-1, 7, 20);
  const at::Tensor y = rms_norm(x, weight, 1e-6);
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_LT(worst(y, norm_in_double(x, 1e-6) * weight), 2e-6);
  EXPECT_LT(worst(rms_norm(x, {}, 1e-6), norm_in_double(x, 1e-6)), 2e-6);
  EXPECT_EQ(rms_norm(at::randn({0, 20}), weight, 1e-6).sizes(), (std::vector<int64_t>{0, 20}));
  EXPECT_EQ(rms_norm(x.to(at::kBFloat16), weight.to(at::kBFloat16), 1e-6).scalar_type(),
            at::kBFloat16);
  const at::Tensor leaf = x.clone().requires_grad_();
  rms_norm(leaf, weight, 1e-6).sum().backward();
  EXPECT_TRUE(leaf.grad().abs().sum().item<float>() > 0);
  EXPECT_ANY_THROW(rms_norm(x, at::randn({19}), 1e-6));
  at::Tensor bad = x.clone();
  bad[0][0][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(rms_norm(bad, weight, 1e-6)[0][0].isnan().all().item<bool>());
}

TEST(SiluProduct, EqualsDoubleForEveryInstructionSet) {
  const int64_t count = 1003;
  const at::Tensor gate = at::cat({at::linspace(-80, 80, 901), at::randn({count - 901})});
  const at::Tensor up = at::randn({count}) + 3;
  const at::Tensor expected = silu_in_double(gate, up);
  for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    if (const cpu::Kernels* kernels = cpu::kernels_of(isa)) {
      at::Tensor y = at::empty({count});
      kernels->silu_product(gate.const_data_ptr<float>(), up.const_data_ptr<float>(),
                            y.data_ptr<float>(), count);
      // e^80 has a relative error of 80 · 2^-24 before any rounding of its own.
      EXPECT_LT(worst(y, expected), 1e-5) << cpu::isa_name(isa);
    }
  }
}

TEST(SiluProduct, EdgesShapesAndGradients) {
  const float infinity = std::numeric_limits<float>::infinity();
  const at::Tensor gate = at::tensor({0.0F, 1000.0F, -1000.0F, infinity, infinity - infinity});
  const at::Tensor y = silu_product(gate, at::ones({5}));
  EXPECT_EQ(y[0].item<float>(), 0.0F);
  EXPECT_EQ(y[1].item<float>(), 1000.0F);
  EXPECT_NEAR(y[2].item<float>(), 0.0F, 1e-30F);
  EXPECT_EQ(y[3].item<float>(), infinity);
  EXPECT_TRUE(y[4].isnan().item<bool>());
  const at::Tensor a = at::randn({2, 3, 34}).transpose(0, 1);
  const at::Tensor b = at::randn({3, 2, 34});
  EXPECT_TRUE(at::allclose(silu_product(a, b), at::silu(a) * b, 1e-5, 1e-6));
  EXPECT_EQ(silu_product(at::empty({0, 4}), at::empty({0, 4})).numel(), 0);
  EXPECT_ANY_THROW(silu_product(a, at::randn({3, 2, 33})));
  const at::Tensor leaf = b.clone().requires_grad_();
  silu_product(a, leaf).sum().backward();
  EXPECT_TRUE(at::allclose(leaf.grad(), at::silu(a), 1e-5, 1e-6));
}

}  // namespace
}  // namespace tessera::ops
