#include "ops/paged_attention.h"

#include "core/error.h"
#include "core/random.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

namespace tessera::ops {
namespace {

using at::Tensor;

struct Shape {
  int64_t heads, kv_heads, dim;
  ScoreOptions scores;
  at::ScalarType type;
};

// Sequences that grow step by step, with everything that was ever appended kept apart.
struct World {
  explicit World(const Shape& s, uint64_t seed) : shape(s), rng(seed) {
    const auto options = at::TensorOptions().dtype(s.type);
    keys = at::zeros({kPages, s.kv_heads, s.dim, kPageTokens}, options);
    values = at::zeros({kPages, s.kv_heads, kPageTokens, s.dim}, options);
    free.resize(kPages);
    std::iota(free.begin(), free.end(), 0);
    for (size_t i = free.size(); i > 1; --i) {
      std::swap(free[i - 1], free[rng.below(i)]);
    }
  }

  // Adds queries[s] tokens to sequence s and attends with the newest of them.
  void step(const std::vector<int64_t>& queries) {
    k.resize(queries.size());
    v.resize(queries.size());
    pages.resize(queries.size());
    std::vector<int32_t> lengths, first{0}, tables;
    const int64_t total = std::accumulate(queries.begin(), queries.end(), int64_t{0});
    q = at::randn({total, shape.heads, shape.dim});
    const Tensor new_k =
        at::randn({total, shape.kv_heads, shape.dim}).to(shape.type).to(at::kFloat);
    const Tensor new_v =
        at::randn({total, shape.kv_heads, shape.dim}).to(shape.type).to(at::kFloat);
    for (size_t s = 0; s < queries.size(); ++s) {
      for (int64_t t = first.back(); t < first.back() + queries[s]; ++t) {
        k[s].push_back(new_k[t].clone());
        v[s].push_back(new_v[t].clone());
      }
      const auto length = static_cast<int64_t>(k[s].size());
      while (static_cast<int64_t>(pages[s].size()) * kPageTokens < length) {
        pages[s].push_back(free.back());
        free.pop_back();
      }
      lengths.push_back(static_cast<int32_t>(length));
      first.push_back(static_cast<int32_t>(first.back() + queries[s]));
    }
    for (const auto& list : pages) {
      for (size_t i = 0; i < kPages; ++i) {
        tables.push_back(i < list.size() ? list[i] : -7);
      }
    }
    batch = {.tables = at::tensor(tables, at::kInt).view({-1, kPages}),
             .lengths = at::tensor(lengths, at::kInt),
             .first_query = at::tensor(first, at::kInt)};
    paged_append(new_k, new_v, batch, keys, values);
  }

  // Attention by its definition in fp64, from what was appended.
  std::vector<double> expected() const {
    std::vector<double> out;
    const int64_t group = shape.heads / shape.kv_heads;
    const int32_t* first = batch.first_query.const_data_ptr<int32_t>();
    for (size_t s = 0; s < k.size(); ++s) {
      const auto length = static_cast<int64_t>(k[s].size());
      for (int64_t row = first[s]; row < first[s + 1]; ++row) {
        const int64_t position = length - (first[s + 1] - row);
        for (int64_t h = 0; h < shape.heads; ++h) {
          const auto one = attend(s, row, h, h / group, position);
          out.insert(out.end(), one.begin(), one.end());
        }
      }
    }
    return out;
  }

  std::vector<double> attend(size_t s, int64_t row, int64_t h, int64_t kv, int64_t position) const {
    const int64_t from =
        shape.scores.window > 0 ? std::max<int64_t>(0, position - shape.scores.window + 1) : 0;
    const float* x = q.const_data_ptr<float>() + (row * shape.heads + h) * shape.dim;
    std::vector<double> out(static_cast<size_t>(shape.dim)), weights;
    double total = 0;
    for (int64_t t = from; t <= position; ++t) {
      const float* key = k[s][static_cast<size_t>(t)].const_data_ptr<float>() + kv * shape.dim;
      double score = 0;
      for (int64_t i = 0; i < shape.dim; ++i) {
        score += double{x[i]} * key[i];
      }
      score *= shape.scores.scale;
      if (shape.scores.cap > 0) {
        score = shape.scores.cap * std::tanh(score / shape.scores.cap);
      }
      weights.push_back(std::exp(score));
      total += weights.back();
    }
    for (int64_t t = from; t <= position; ++t) {
      const float* value = v[s][static_cast<size_t>(t)].const_data_ptr<float>() + kv * shape.dim;
      for (int64_t i = 0; i < shape.dim; ++i) {
        out[static_cast<size_t>(i)] += weights[static_cast<size_t>(t - from)] / total * value[i];
      }
    }
    return out;
  }

  static constexpr int64_t kPages = 64;
  Shape shape;
  Rng rng;
  Tensor keys, values, q;
  PagedBatch batch;
  std::vector<int32_t> free;
  std::vector<std::vector<int32_t>> pages;
  std::vector<std::vector<Tensor>> k, v;  // of each sequence's tokens
};

void expect_near(const Tensor& got, const std::vector<double>& expected, double bound) {
  ASSERT_EQ(got.numel(), static_cast<int64_t>(expected.size()));
  const Tensor flat = got.contiguous();
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(flat.const_data_ptr<float>()[i], expected[i], bound) << "element " << i;
  }
}

Tensor run_isa(cpu::Isa isa, const World& world) {
  const cpu::AttentionKernels& kernels = *cpu::kernels_of(isa)->attention;
  const Tensor out = at::empty_like(world.q);
  const int32_t* first = world.batch.first_query.const_data_ptr<int32_t>();
  for (int64_t s = 0; s < world.batch.lengths.numel(); ++s) {
    const cpu::PagedAttention job{
        .q = world.q.const_data_ptr<float>(),
        .out = out.mutable_data_ptr<float>(),
        .keys = world.keys.const_data_ptr(),
        .values = world.values.const_data_ptr(),
        .table = world.batch.tables.const_data_ptr<int32_t>() + s * World::kPages,
        .length = world.batch.lengths.const_data_ptr<int32_t>()[s],
        .first = first[s],
        .queries = first[s + 1] - first[s],
        .heads = world.shape.heads,
        .kv_heads = world.shape.kv_heads,
        .dim = world.shape.dim,
        .scale = static_cast<float>(world.shape.scores.scale),
        .cap = static_cast<float>(world.shape.scores.cap),
        .window = world.shape.scores.window};
    const int64_t rows = job.queries * (job.heads / job.kv_heads);
    for (int64_t h = 0; h < job.kv_heads; ++h) {
      for (int64_t begin = 0; begin < rows; begin += 7) {  // odd tiles
        const auto tile = world.shape.type == at::kFloat ? kernels.paged_fp32 : kernels.paged_bf16;
        tile(job, h, begin, std::min<int64_t>(begin + 7, rows));
      }
    }
  }
  return out;
}

TEST(PagedAttention, EqualsTheDefinition) {
  const Shape shapes[] = {
      {4, 4, 16, {.scale = 0.25}, at::kFloat},
      {8, 2, 10, {.scale = 0.3}, at::kFloat},
      {6, 1, 33, {.scale = 0.2, .window = 5}, at::kFloat},
      {3, 3, 1, {.scale = 1.0, .cap = 2.0}, at::kFloat},
      {4, 2, 64, {.scale = 0.125, .cap = 30.0, .window = 17}, at::kBFloat16},
      {2, 1, 256, {.scale = 0.0625}, at::kFloat},
      {2, 1, 260, {.scale = 0.06}, at::kFloat},  // wider than the kernels
  };
  for (const Shape& shape : shapes) {
    World world(shape, 5);
    for (const std::vector<int64_t>& queries : std::vector<std::vector<int64_t>>{
             {1, 70, 16}, {1, 1, 1}, {40, 0, 3}, {1, 1, 17}, {15, 33, 1}}) {
      world.step(queries);
      const std::vector<double> expected = world.expected();
      expect_near(paged_attention(world.q, world.keys, world.values, world.batch, shape.scores),
                  expected, 2e-5);
      expect_near(
          paged_attention_reference(world.q, world.keys, world.values, world.batch, shape.scores),
          expected, 2e-5);
      for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
        if (cpu::kernels_of(isa) != nullptr && shape.dim <= cpu::kMostDim) {
          expect_near(run_isa(isa, world), expected, 2e-5);
        }
      }
    }
  }
}

// Scores far apart must neither overflow nor lose the largest.
TEST(PagedAttention, LargeScoresStayFinite) {
  World world({2, 2, 16, {.scale = 40.0}, at::kFloat}, 6);
  world.step({50});
  const Tensor out =
      paged_attention(world.q, world.keys, world.values, world.batch, world.shape.scores);
  EXPECT_TRUE(out.isfinite().all().item<bool>());
  EXPECT_LE(out.abs().max().item<float>(), world.values.abs().max().item<float>() + 1e-4F);
}

TEST(PagedAttention, WrongLayoutsAreNamed) {
  World world({2, 1, 8, {.scale = 1.0}, at::kFloat}, 7);
  world.step({5, 20});
  const auto run = [&](const PagedBatch& batch) {
    paged_attention(world.q, world.keys, world.values, batch, world.shape.scores);
  };
  EXPECT_NO_THROW(run(world.batch));
  PagedBatch bad = world.batch;
  bad.lengths = at::tensor({3, 20}, at::kInt);  // fewer than its queries
  EXPECT_THROW(run(bad), InvalidArgument);
  bad = world.batch;
  bad.tables = at::full({2, World::kPages}, int64_t{World::kPages}, at::kInt);
  EXPECT_THROW(run(bad), InvalidArgument);
  bad = world.batch;
  bad.tables = bad.tables.narrow(1, 0, 1).contiguous();
  EXPECT_THROW(run(bad), InvalidArgument);
  bad = world.batch;
  bad.first_query = at::tensor({0, 5, 24}, at::kInt);
  EXPECT_THROW(run(bad), InvalidArgument);
  bad = world.batch;
  bad.lengths = bad.lengths.to(at::kLong);
  EXPECT_THROW(run(bad), InvalidArgument);
  EXPECT_THROW(paged_attention(world.q, world.keys.narrow(1, 0, 1).to(at::kHalf), world.values,
                               world.batch, world.shape.scores),
               InvalidArgument);
}

}  // namespace
}  // namespace tessera::ops
