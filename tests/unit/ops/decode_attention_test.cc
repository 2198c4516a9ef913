#include "ops/decode_attention.h"

#include "core/error.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>

#include <gtest/gtest.h>

#include <limits>

namespace tessera::ops {
namespace {

using at::Tensor;

struct Shape {
  int64_t batch, heads, kv_heads, length, dim;
};

// By its definition, in fp64.
Tensor expected(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale) {
  const int64_t group = q.size(1) / k.size(1);
  const auto wide = [&](const Tensor& x) { return x.to(at::kDouble).repeat_interleave(group, 1); };
  Tensor scores = at::matmul(q.to(at::kDouble), wide(k).transpose(2, 3)) * scale;
  if (mask.defined()) {
    scores = scores.masked_fill(mask.logical_not(), -1e30);
  }
  return at::matmul(scores.softmax(-1), wide(v)).transpose(1, 2).flatten(2);
}

// Views into larger buffers whose unused rest must never be read.
Tensor in_buffer(const Tensor& x, int64_t room) {
  Tensor buffer = at::full({x.size(0), x.size(1), x.size(2) + room, x.size(3)},
                           std::numeric_limits<float>::quiet_NaN());
  buffer.narrow(2, 0, x.size(2)).copy_(x);
  return buffer.narrow(2, 0, x.size(2));
}

TEST(DecodeAttention, EqualsTheDefinition) {
  const Shape shapes[] = {{1, 1, 1, 1, 1},    {2, 6, 6, 300, 64},  {3, 8, 2, 17, 33},
                          {1, 32, 4, 16, 64}, {2, 5, 1, 47, 256},  {1, 9, 3, 15, 10},
                          {4, 4, 4, 2100, 8}, {1, 12, 12, 65, 80}, {0, 2, 2, 3, 4}};
  for (const Shape& s : shapes) {
    const Tensor q = at::randn({s.batch, s.heads, 1, s.dim});
    const Tensor k = in_buffer(at::randn({s.batch, s.kv_heads, s.length, s.dim}), 5);
    const Tensor v = in_buffer(at::randn({s.batch, s.kv_heads, s.length, s.dim}), 5);
    Tensor mask = at::rand({s.batch, 1, 1, s.length}) < 0.7;
    mask.select(3, s.length - 1).fill_(true);
    for (const Tensor& seen : {Tensor(), mask, mask.narrow(0, 0, std::min<int64_t>(1, s.batch))}) {
      const Tensor got = decode_attention(q, k, v, seen, 0.3);
      const Tensor truth = expected(q, k, v, seen, 0.3);
      ASSERT_EQ(got.sizes(), at::IntArrayRef({s.batch, 1, s.heads * s.dim}));
      if (s.batch > 0) {
        EXPECT_LT((got - truth).abs().max().item<double>(), 2e-5)
            << s.batch << "x" << s.heads << "x" << s.length << "x" << s.dim;
      }
    }
  }
}

TEST(DecodeAttention, EveryInstructionSet) {
  for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* kernels = cpu::kernels_of(isa);
    if (kernels == nullptr) {
      continue;
    }
    for (const int64_t dim : {1, 7, 16, 40, 64, 250}) {
      for (const int64_t length : {1, 15, 16, 33, 128}) {
        const Tensor q = at::randn({1, 1, 1, dim});
        const Tensor k = at::randn({1, 1, length, dim});
        const Tensor v = at::randn({1, 1, length, dim});
        Tensor mask = at::rand({1, 1, 1, length}) < 0.5;
        const Tensor out = at::empty({dim});
        kernels->attention->decode(
            {.q = q.const_data_ptr<float>(),
             .out = out.mutable_data_ptr<float>(),
             .keys = k.const_data_ptr<float>(),
             .values = v.const_data_ptr<float>(),
             .seen = reinterpret_cast<const unsigned char*>(mask.const_data_ptr<bool>()),
             .length = length,
             .dim = dim,
             .scale = 0.5F});
        EXPECT_LT((out - expected(q, k, v, mask, 0.5).flatten()).abs().max().item<double>(), 2e-5)
            << cpu::isa_name(isa) << " " << dim << " " << length;
      }
    }
  }
}

// A row that sees nothing weighs all alike, as the reference's additive mask makes it do; scores
// far apart neither overflow nor lose the largest.
TEST(DecodeAttention, NothingSeenAndLargeScores) {
  const Tensor q = at::randn({2, 2, 1, 24});
  const Tensor k = at::randn({2, 2, 40, 24});
  const Tensor v = at::randn({2, 2, 40, 24});
  Tensor mask = at::ones({2, 1, 1, 40}, at::kBool);
  mask.select(0, 1).fill_(false);
  const Tensor got = decode_attention(q, k, v, mask, 1.0);
  EXPECT_LT((got[1].view({2, 24}) - v[1].mean(1)).abs().max().item<double>(), 1e-5);
  const Tensor large = decode_attention(q * 100, k, v, {}, 40.0);
  EXPECT_LT((large - expected(q * 100, k, v, {}, 40.0)).abs().max().item<double>(), 1e-4);
}

TEST(DecodeAttention, WhatItTakes) {
  const Tensor q = at::randn({1, 4, 1, 8});
  const Tensor k = at::randn({1, 2, 3, 8});
  EXPECT_TRUE(has_decode_attention(q, k, k));
  EXPECT_FALSE(has_decode_attention(q.to(at::kBFloat16), k, k));
  EXPECT_FALSE(has_decode_attention(at::randn({1, 4, 2, 8}), k, k));
  EXPECT_FALSE(has_decode_attention(at::randn({1, 4, 1, 8}).requires_grad_(), k, k));
  EXPECT_FALSE(has_decode_attention(at::randn({1, 4, 1, 300}), at::randn({1, 2, 3, 300}),
                                    at::randn({1, 2, 3, 300})));
  EXPECT_THROW(decode_attention(at::randn({1, 3, 1, 8}), k, k, {}, 1.0), InvalidArgument);
  EXPECT_THROW(decode_attention(q, k, at::randn({1, 2, 4, 8}), {}, 1.0), InvalidArgument);
  EXPECT_THROW(decode_attention(q, k, k, at::ones({1, 1, 1, 3}), 1.0), InvalidArgument);
}

}  // namespace
}  // namespace tessera::ops
