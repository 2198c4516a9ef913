#include "ops/linear_packed.h"

#include "core/error.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::ops {
namespace {

using at::Tensor;

struct Example {
  PackedWeight weight;
  Tensor dense;  // fp32 [out, in]
};

/// Bytes with one scale for every `group` inputs: numbers that plain tensor operations give too.
Example example(int64_t out, int64_t in, int64_t group) {
  const int64_t groups = (in + group - 1) / group;
  const Tensor codes = at::randint(-128, 128, {out, in}, at::kChar);
  const Tensor scales = at::rand({out, groups});
  io::GroupedRows rows{.out = out, .in = in};
  rows.codes = {.data = static_cast<const std::byte*>(codes.const_data_ptr()),
                .bits = 8,
                .line_stride = in,
                .is_signed = true};
  rows.groups = groups;
  rows.group_size = group;
  rows.zero = 128;
  rows.scales = {static_cast<const std::byte*>(scales.const_data_ptr()),
                 io::StridedFloats::Type::kF32, groups, 1};
  const Tensor wide = scales.repeat_interleave(group, 1).narrow(1, 0, in);
  return {{rows, {codes, scales}}, codes.to(at::kFloat) * wide};
}

TEST(LinearPacked, AnyNumberOfRowsAndOddShapes) {
  at::manual_seed(3);
  for (const auto& [out, in] : {std::pair{1, 1}, {5, 7}, {33, 70}, {300, 513}}) {
    const Example item = example(out, in, 32);
    EXPECT_TRUE(dequantize_packed(item.weight).equal(item.dense));
    for (const int64_t rows : {0, 1, 2, 15, 16, 17, 40}) {
      const Tensor x = at::randn({2, rows, in}).narrow(0, 1, 1);
      const Tensor expected = at::matmul(x, item.dense.t());
      const Tensor actual = linear_packed(x, item.weight);
      EXPECT_EQ(actual.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(actual, expected, 1e-4, 1e-2)) << out << " " << in << " " << rows;
    }
  }
}

TEST(LinearPacked, GradientsReachTheInputs) {
  const Example item = example(9, 21, 5);
  const Tensor x = at::randn({4, 21}).requires_grad_(true);
  linear_packed(x, item.weight).sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), item.dense.sum(0).expand({4, 21}), 1e-4, 1e-3));
}

TEST(LinearPacked, OtherInputsAreRefused) {
  const Example item = example(4, 8, 8);
  EXPECT_THROW(linear_packed(at::randn({3, 7}), item.weight), InvalidArgument);
  EXPECT_THROW(linear_packed(at::randn({3, 8}, at::kDouble), item.weight), InvalidArgument);
}

}  // namespace
}  // namespace tessera::ops
