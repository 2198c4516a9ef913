#include "ops/linear_small.h"

#include "ops/cpu/dispatch.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::ops {
namespace {

double nmse(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor error = (actual - expected).to(at::kDouble);
  const double norm = expected.to(at::kDouble).square().sum().item<double>();
  return norm == 0 ? error.abs().sum().item<double>() : error.square().sum().item<double>() / norm;
}

at::Tensor weight_of(at::ScalarType dtype, int64_t out, int64_t in) {
  return dtype == at::kChar ? at::randint(-128, 128, {out, in}, at::kChar)
                            : at::randn({out, in}).to(dtype);
}

class MixedLinear : public testing::TestWithParam<at::ScalarType> {};

TEST_P(MixedLinear, EqualsTheCompositeAtOddShapes) {
  for (const int64_t rows : {1, 2, 3, 5, 16, 17, 40}) {
    for (const auto& [in, out] :
         {std::pair<int64_t, int64_t>{1, 1}, {15, 3}, {16, 4}, {33, 17}, {129, 65}, {512, 300}}) {
      const at::Tensor x = at::randn({rows, in});
      const at::Tensor weight = weight_of(GetParam(), out, in);
      const at::Tensor scale =
          GetParam() == at::kChar ? at::randn({out}).abs() * 0.01 : at::Tensor();
      EXPECT_LT(nmse(linear_mixed(x, weight, scale), linear_mixed_reference(x, weight, scale)),
                1e-11)
          << rows << " x " << in << " x " << out;
    }
  }
}

TEST_P(MixedLinear, KeepsLeadingAxesAndTakesViews) {
  const at::Tensor weight = weight_of(GetParam(), 9, 20);
  const at::Tensor scale = GetParam() == at::kChar ? at::randn({9}) : at::Tensor();
  const at::Tensor wide = at::randn({2, 3, 40});
  const at::Tensor x = wide.narrow(-1, 7, 20);  // not contiguous
  const at::Tensor y = linear_mixed(x, weight, scale);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 9}));
  EXPECT_LT(nmse(y, linear_mixed_reference(x, weight, scale)), 1e-11);
  const at::Tensor turned = weight_of(GetParam(), 20, 9).t();
  EXPECT_LT(nmse(linear_mixed(x, turned, scale), linear_mixed_reference(x, turned, scale)), 1e-11);
}

TEST_P(MixedLinear, EmptyInputs) {
  const at::Tensor weight = weight_of(GetParam(), 4, 8);
  const at::Tensor scale = GetParam() == at::kChar ? at::randn({4}) : at::Tensor();
  EXPECT_EQ(linear_mixed(at::randn({0, 8}), weight, scale).sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_ANY_THROW(linear_mixed(at::randn({2, 7}), weight, scale));
}

TEST_P(MixedLinear, UnalignedWeights) {
  // Tensors of mapped files start at any byte.
  const at::Tensor aligned = weight_of(GetParam(), 6, 37);
  std::vector<char> bytes(aligned.nbytes() + 1);
  std::memcpy(bytes.data() + 1, aligned.const_data_ptr(), aligned.nbytes());
  const at::Tensor weight = at::from_blob(bytes.data() + 1, {6, 37}, aligned.options());
  const at::Tensor scale = GetParam() == at::kChar ? at::randn({6}) : at::Tensor();
  const at::Tensor x = at::randn({3, 37});
  EXPECT_TRUE(linear_mixed(x, weight, scale).equal(linear_mixed(x, aligned, scale)));
}

INSTANTIATE_TEST_SUITE_P(Types, MixedLinear, testing::Values(at::kBFloat16, at::kHalf, at::kChar));

TEST(Kernels, EveryInstructionSetAgrees) {
  const int64_t in = 77;
  const int64_t out = 21;
  for (const int64_t rows : {1, 4, 7}) {
    const at::Tensor x = at::randn({rows, in});
    const at::Tensor weight = at::randn({out, in}).to(at::kHalf);
    const at::Tensor expected = linear_mixed_reference(x, weight, {});
    for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
      const cpu::Kernels* kernels = cpu::kernels_of(isa);
      if (kernels == nullptr) {
        continue;
      }
      at::Tensor y = at::empty({rows, out});
      kernels->linear_fp16(x.const_data_ptr<float>(), in,
                           static_cast<const cpu::Fp16*>(weight.const_data_ptr()), nullptr,
                           y.data_ptr<float>(), out, rows, in, 0, out);
      EXPECT_LT(nmse(y, expected), 1e-11) << cpu::isa_name(isa);
    }
  }
}

TEST(Kernels, HalfWidensExactly) {
  // All 65,536 bit patterns but NaN, through the portable kernel with x = 1.
  at::Tensor bits = at::empty({65536}, at::kShort);
  for (int i = 0; i < 65536; ++i) {
    bits.data_ptr<int16_t>()[i] = static_cast<int16_t>(i);
  }
  const at::Tensor weight = bits.view(at::kHalf).unsqueeze(1);  // [65536, 1]
  const float one = 1.0F;
  at::Tensor y = at::empty({65536});
  cpu::kernels_of(cpu::Isa::kPortable)
      ->linear_fp16(&one, 1, static_cast<const cpu::Fp16*>(weight.const_data_ptr()), nullptr,
                    y.data_ptr<float>(), 65536, 1, 1, 0, 65536);
  const at::Tensor expected = weight.flatten().to(at::kFloat);
  EXPECT_TRUE(y.eq(expected).logical_or(expected.isnan()).all().item<bool>());
}

}  // namespace
}  // namespace tessera::ops
