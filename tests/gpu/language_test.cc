// The language engine's kernels on the GPU against plain operations, and the engine on the GPU
// against itself on the CPU.
#include "core/random.h"
#include "models/registry.h"
#include "nn/engine.h"
#include "ops/device.h"
#include "ops/elementwise.h"
#include "ops/gpu.h"
#include "ops/linear_gpu.h"
#include "ops/paged_attention.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <numeric>

namespace tessera {
namespace {

using at::Tensor;

at::TensorOptions on_gpu(at::ScalarType type) {
  return at::TensorOptions().dtype(type).device(ops::open_device("cuda"));
}

// ‖a − b‖ / ‖b‖; NaN never passes.
double distance(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(at::kCPU, at::kDouble);
  const Tensor y = b.to(at::kCPU, at::kDouble);
  EXPECT_EQ(x.sizes(), y.sizes());
  const double off = (x - y).norm().item<double>();
  return off == 0 ? 0 : off / y.norm().item<double>();
}

double bound(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : type == at::kHalf ? 1e-3 : 8e-3;
}

TEST(GpuKernels, TheLibraryIsThere) {
  on_gpu(at::kFloat);
  EXPECT_NE(ops::gpu_kernels(), nullptr);
}

TEST(GpuKernels, NormsAndSiluEqualPlainOperations) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const int64_t width : {1, 7, 32, 100, 1000, 4096, 11008}) {
      for (const int64_t rows : {0, 1, 3, 17}) {
        const Tensor x = at::randn({rows, 2, width}, on_gpu(type)) * 3;
        const Tensor weight = at::randn({width}, on_gpu(type));
        const Tensor wide = x.to(at::kDouble);
        const Tensor normal = wide * (wide.square().mean(-1, true) + 1e-5).rsqrt();
        EXPECT_LT(distance(ops::rms_norm(x, weight, 1e-5), normal * weight.to(at::kDouble)),
                  bound(type))
            << type << width;
        EXPECT_LT(
            distance(ops::rms_norm(x, weight, 1e-5, true), normal * (1 + weight.to(at::kDouble))),
            bound(type))
            << type << width;
        const Tensor both = at::randn({rows, 2 * width}, on_gpu(type));
        const Tensor gate = both.narrow(1, 0, width);
        const Tensor up = both.narrow(1, width, width);
        EXPECT_LT(distance(ops::silu_product(gate, up),
                           at::silu(gate.to(at::kDouble)) * up.to(at::kDouble)),
                  bound(type))
            << type << width;
      }
    }
  }
}

ops::GpuWeight random_weight(ops::gpu::WeightFormat format,
                             int64_t out,
                             int64_t in,
                             at::ScalarType type) {
  using Format = ops::gpu::WeightFormat;
  ops::GpuWeight weight;
  weight.format = format;
  if (format == Format::kDense) {
    weight.weight = at::randn({out, in}, on_gpu(type)) * 0.05;
  } else if (format == Format::kInt4) {
    weight.weight = at::randint(INT32_MIN, INT32_MAX, {out, in / 8}, on_gpu(at::kInt));
    weight.group = in % 256 == 0 ? 256 : 128;
    const Tensor scale = at::rand({out, in / weight.group}, on_gpu(type)) * 0.02;
    const Tensor zero = at::randint(0, 16, scale.sizes(), on_gpu(at::kInt)).to(type);
    weight.scales = at::stack({scale, zero}, 2).contiguous();
  } else {
    weight.weight = at::randint(-128, 128, {out, in}, on_gpu(at::kChar));
    weight.scales = at::rand({out}, on_gpu(at::kFloat)) * 0.002;
  }
  return weight;
}

// The numbers of packed weights by arithmetic on their codes.
Tensor numbers_of(const ops::GpuWeight& weight) {
  using Format = ops::gpu::WeightFormat;
  if (weight.format == Format::kDense) {
    return weight.weight.to(at::kDouble);
  }
  if (weight.format == Format::kInt8) {
    return weight.weight.to(at::kDouble) * weight.scales.unsqueeze(1).to(at::kDouble);
  }
  const Tensor words = weight.weight.to(at::kCPU, at::kLong).bitwise_and(0xFFFFFFFFLL);
  std::vector<Tensor> codes;
  for (const int64_t shift : {0, 16, 4, 20, 8, 24, 12, 28}) {
    codes.push_back(words.bitwise_right_shift(shift).bitwise_and(15));
  }
  const Tensor all = at::stack(codes, 2).to(at::kDouble).view({weight.out(), -1, weight.group});
  const Tensor scales = weight.scales.to(at::kCPU, at::kDouble);
  return ((all - scales.select(2, 1).unsqueeze(2)) * scales.select(2, 0).unsqueeze(2))
      .view({weight.out(), weight.in()})
      .to(weight.weight.device());
}

TEST(GpuKernels, LinearsEqualPlainOperations) {
  const c10::InferenceMode inference;
  using Format = ops::gpu::WeightFormat;
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    for (const Format format : {Format::kDense, Format::kInt4, Format::kInt8}) {
      for (const auto& [out, in] : {std::pair<int64_t, int64_t>{5, 128},
                                    {16, 256},
                                    {37, 384},
                                    {256, 1152},
                                    {770, 2048},
                                    {64, 80},
                                    {33, 48}}) {
        if (format == Format::kInt4 && in % 128 != 0) {
          continue;
        }
        ops::GpuWeight weight = random_weight(format, out, in, type);
        const Tensor numbers = numbers_of(weight);
        EXPECT_LT(distance(ops::dequantize_gpu(weight, type), numbers), bound(type));
        for (int64_t rows = 1; rows <= 40; rows += rows < 18 ? 1 : 11) {
          const Tensor x = at::randn({1, rows, in}, on_gpu(type));
          const Tensor residual = at::randn({1, rows, out}, on_gpu(type));
          weight.bias = rows % 3 == 0 ? Tensor() : at::randn({out}, on_gpu(type));
          Tensor y = at::matmul(x.to(at::kDouble), numbers.t());
          if (weight.bias.defined()) {
            y = y + weight.bias.to(at::kDouble);
          }
          const Tensor with = y + residual.to(at::kDouble);  // whose memory may be the result's
          const auto where = [&] {
            return "format " + std::to_string(static_cast<int>(format)) + " [" +
                   std::to_string(out) + ", " + std::to_string(in) + "] rows " +
                   std::to_string(rows);
          };
          EXPECT_LT(distance(ops::linear_gpu(x, weight), y), bound(type)) << where();
          EXPECT_LT(distance(ops::linear_gpu(x, weight, {.wide = true}), y), bound(type))
              << where();
          EXPECT_LT(distance(ops::linear_gpu(x, weight, {.residual = residual}), with), bound(type))
              << where();
          if (out % 2 == 0) {
            const Tensor pair = at::silu(y.narrow(2, 0, out / 2)) * y.narrow(2, out / 2, out / 2);
            EXPECT_LT(distance(ops::linear_gpu(x, weight, {.pair = true}), pair), 2 * bound(type))
                << where();
          }
        }
      }
    }
  }
}

// One row gives the same bits alone or among others, as far as one kernel takes them.
TEST(GpuKernels, LinearsKeepRowsApart) {
  using Format = ops::gpu::WeightFormat;
  for (const Format format : {Format::kDense, Format::kInt4, Format::kInt8}) {
    const ops::GpuWeight weight = random_weight(format, 300, 1024, at::kBFloat16);
    const int64_t rows = format == Format::kInt4 ? 4 : 8;
    const Tensor x = at::randn({rows, 1024}, on_gpu(at::kBFloat16));
    const Tensor all = ops::linear_gpu(x, weight);
    for (int64_t row = 0; row < rows; ++row) {
      EXPECT_TRUE(at::equal(ops::linear_gpu(x.narrow(0, row, 1), weight), all.narrow(0, row, 1)));
    }
  }
}

struct Heads {
  int64_t heads, kv_heads, dim, rotated;
  ops::ScoreOptions scores = {};
};

// Rotation as nn::Rope defines it, of x [N, heads, d].
Tensor rotated(const Tensor& x, const Tensor& positions, const ops::RotaryTable& table) {
  const int64_t half = table.frequencies.size(0);
  const Tensor angles = positions.to(at::kDouble).unsqueeze(1) * table.frequencies.to(at::kDouble);
  const Tensor cosine = (angles.cos() * table.factor).unsqueeze(1);
  const Tensor sine = (angles.sin() * table.factor).unsqueeze(1);
  const Tensor a = x.narrow(2, 0, half).to(at::kDouble);
  const Tensor b = x.narrow(2, half, half).to(at::kDouble);
  const Tensor rest = x.narrow(2, 2 * half, x.size(2) - 2 * half).to(at::kDouble);
  return at::cat({a * cosine - b * sine, b * cosine + a * sine, rest}, 2);
}

void check_attention(const Heads& shape,
                     const std::vector<int64_t>& lengths,
                     const std::vector<int64_t>& queries,
                     at::ScalarType type) {
  const auto count = static_cast<int64_t>(lengths.size());
  constexpr int64_t kPages = 200;
  constexpr int64_t kMost = 80;
  const auto i32 = [](const std::vector<int32_t>& v) {
    return at::tensor(v, at::kInt).to(on_gpu(at::kInt).device());
  };
  std::vector<int32_t> free(kPages);
  std::iota(free.begin(), free.end(), 0);
  Rng rng(7);
  for (size_t i = free.size(); i > 1; --i) {
    std::swap(free[i - 1], free[rng.below(i)]);
  }
  const auto pool = [&] {
    return at::randn(ops::pool_shape(kPages, shape.kv_heads, shape.dim, false, at::kCUDA),
                     on_gpu(type));
  };
  Tensor keys = pool();
  Tensor values = pool();
  std::vector<int32_t> tables(static_cast<size_t>(count * kMost)), positions, sequences, decode;
  std::vector<int32_t> query_ends{0}, key_ends{0}, slots, first{0}, all;
  ops::PagedDeviceBatch batch;
  bool past = false;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t length = lengths[static_cast<size_t>(s)];
    const int64_t asked = queries[static_cast<size_t>(s)];
    for (int64_t page = 0; page * ops::kPageTokens < length; ++page) {
      tables[static_cast<size_t>(s * kMost + page)] = free.back();
      free.pop_back();
    }
    for (int64_t at = length - asked; at < length; ++at) {
      positions.push_back(static_cast<int32_t>(at));
      sequences.push_back(static_cast<int32_t>(s));
    }
    first.push_back(static_cast<int32_t>(positions.size()));
    all.push_back(static_cast<int32_t>(length));
    if (asked <= 1) {
      ++batch.singles;
      decode.push_back(static_cast<int32_t>(length));
      if (asked == 0) {  // a row that fills a graph
        positions.push_back(-1);
        sequences.push_back(static_cast<int32_t>(s));
      }
      continue;
    }
    past = past || asked < length;
    query_ends.push_back(query_ends.back() + static_cast<int32_t>(asked));
    key_ends.push_back(key_ends.back() + static_cast<int32_t>(length));
    batch.most_queries = std::max(batch.most_queries, asked);
    batch.most_keys = std::max(batch.most_keys, length);
    for (int64_t at = 0; at < length; ++at) {
      slots.push_back(tables[static_cast<size_t>(s * kMost + at / ops::kPageTokens)] *
                          static_cast<int32_t>(ops::kPageTokens) +
                      static_cast<int32_t>(at % ops::kPageTokens));
    }
  }
  batch.tables = i32(tables).view({count, kMost});
  batch.lengths = i32(decode);
  batch.positions = i32(positions);
  batch.sequences = i32(sequences);
  batch.query_ends = i32(query_ends);
  batch.key_ends = i32(key_ends);
  batch.key_slots = past ? i32(slots) : Tensor();
  const auto tokens = static_cast<int64_t>(positions.size());
  const ops::RotaryTable rotary{
      at::pow(10000.0, -at::arange(shape.rotated / 2, on_gpu(at::kFloat)) * 2.0 /
                           static_cast<double>(shape.rotated)),
      1.25};
  const Tensor joined =
      at::randn({tokens, (shape.heads + 2 * shape.kv_heads) * shape.dim}, on_gpu(type));
  const auto part = [&](int64_t head, int64_t heads) {
    return joined.narrow(1, head * shape.dim, heads * shape.dim).view({tokens, heads, shape.dim});
  };
  const Tensor q = part(0, shape.heads);
  const Tensor k = part(shape.heads, shape.kv_heads);
  const Tensor v = part(shape.heads + shape.kv_heads, shape.kv_heads);
  // By definition: rotate, append, attend one sequence after the other.
  const Tensor turned_q = rotated(q, batch.positions, rotary).to(type);
  const Tensor turned_k = rotated(k, batch.positions, rotary).to(type);
  Tensor keys_then = keys.clone();
  Tensor values_then = values.clone();
  std::vector<Tensor> outs;
  for (int64_t s = 0, at = 0; s < count; ++s) {
    const int64_t asked = queries[static_cast<size_t>(s)];
    const int64_t length = lengths[static_cast<size_t>(s)];
    if (asked == 0) {
      outs.push_back(at::zeros({1, shape.heads * shape.dim}, on_gpu(type)));
      ++at;
      continue;
    }
    const ops::PagedBatch host{
        .tables = batch.tables[s].unsqueeze(0).cpu(),
        .lengths = at::tensor({static_cast<int32_t>(length)}, at::kInt),
        .first_query = at::tensor({0, static_cast<int32_t>(asked)}, at::kInt)};
    ops::paged_append(turned_k.narrow(0, at, asked), v.narrow(0, at, asked), host, keys_then,
                      values_then);
    outs.push_back(ops::paged_attention_reference(turned_q.narrow(0, at, asked), keys_then,
                                                  values_then, host, shape.scores));
    at += asked;
  }
  const Tensor expected = at::cat(outs);
  for (int again = 0; again < 2; ++again) {  // counters are left as they were found
    const Tensor same = joined.clone();
    const auto own = [&](int64_t head, int64_t heads) {
      return same.narrow(1, head * shape.dim, heads * shape.dim).view({tokens, heads, shape.dim});
    };
    Tensor keys_now = keys.clone();
    Tensor values_now = values.clone();
    const Tensor out =
        ops::paged_rotary_attention(own(0, shape.heads), own(shape.heads, shape.kv_heads),
                                    own(shape.heads + shape.kv_heads, shape.kv_heads), rotary,
                                    batch, keys_now, values_now, shape.scores);
    EXPECT_LT(distance(out, expected), 2 * bound(type))
        << shape.heads << "/" << shape.kv_heads << " heads of " << shape.dim;
    EXPECT_LT(distance(keys_now, keys_then), bound(type));
    EXPECT_TRUE(at::equal(values_now, values_then));
  }
}

TEST(GpuKernels, PagedAttentionEqualsItsDefinition) {
  const std::vector<Heads> shapes = {
      {4, 4, 128, 128},  {8, 2, 64, 64},  {7, 1, 128, 128},
      {16, 2, 128, 128}, {28, 4, 96, 96}, {2, 2, 80, 80},
      {4, 1, 256, 64},   {24, 2, 8, 8},   {4, 2, 64, 32, {0.2, 0.0, 20}},
  };
  for (Heads shape : shapes) {
    shape.scores.scale =
        shape.scores.window > 0 ? 0.2 : 1.0 / std::sqrt(static_cast<double>(shape.dim));
    for (const auto type : {at::kHalf, at::kBFloat16}) {
      check_attention(shape, {1, 15, 16, 17, 1000, 0, 33}, {1, 1, 1, 1, 1, 0, 1}, type);
      check_attention(shape, {200, 5, 64, 17, 40}, {1, 1, 64, 17, 40}, type);
      check_attention(shape, {200, 64, 170, 40}, {1, 64, 100, 2}, type);
      check_attention(shape, {300}, {300}, type);
    }
    check_attention(shape, {1, 15, 16, 17, 1000}, {1, 1, 1, 1, 1}, at::kFloat);
  }
}

TEST(GpuKernels, CappedScores) {
  Heads shape{8, 4, 64, 64};
  shape.scores = {0.3, 5.0, 0};
  check_attention(shape, {1, 100, 700}, {1, 1, 1}, at::kBFloat16);
}

// ---- the engine ----

std::vector<std::vector<int64_t>> answers(const std::string& golden,
                                          const char* device,
                                          at::ScalarType type,
                                          const std::vector<std::vector<int64_t>>& prompts,
                                          int64_t tokens,
                                          bool greedy = true) {
  const at::Device where = ops::open_device(device);
  const auto model = std::dynamic_pointer_cast<nn::SequenceModel>(
      models::load_model(models::open_folder(std::string(TESSERA_GOLDENS) + "/llama/" + golden),
                         {.dtype = type, .device = where}));
  nn::Engine engine(model, {.cache_tokens = 4096});
  std::vector<std::vector<int64_t>> found(prompts.size());
  nn::GenerationOptions options;
  options.sampling.greedy = greedy;
  options.sampling.top_k = 5;
  options.max_new_tokens = tokens;
  for (size_t i = 0; i < prompts.size(); ++i) {
    options.seed = i;
    engine.submit({.prompt = prompts[i], .options = options, .on_token = [&, i](int64_t id) {
                     found[i].push_back(id);
                     return true;
                   }});
  }
  engine.run();
  return found;
}

std::vector<std::vector<int64_t>> prompts_of(int64_t vocabulary) {
  std::vector<std::vector<int64_t>> prompts;
  Rng rng(3);
  for (const size_t length : {1, 2, 7, 15, 16, 17, 33, 60}) {
    std::vector<int64_t> ids;
    while (ids.size() < length) {
      ids.push_back(static_cast<int64_t>(rng.below(static_cast<uint64_t>(vocabulary))));
    }
    prompts.push_back(ids);
  }
  return prompts;
}

TEST(GpuEngine, AnswersAsTheCpuInFp32) {
  for (const char* golden : {"plain", "gqa_bias_llama3", "mqa_tied_linear_bf16"}) {
    for (const bool greedy : {true, false}) {
      const auto prompts = prompts_of(60);
      EXPECT_EQ(answers(golden, "cuda", at::kFloat, prompts, 20, greedy),
                answers(golden, "cpu", at::kFloat, prompts, 20, greedy))
          << golden;
    }
  }
}

// A random Llama whose heads the kernels take.
std::shared_ptr<nn::SequenceModel> small_llama(const char* device,
                                               at::ScalarType type = at::kBFloat16) {
  const at::Device where = ops::open_device(device);
  const models::ModelFolder folder{.path = "random",
                                   .config = {{"architectures", {"LlamaForCausalLM"}},
                                              {"model_type", "llama"},
                                              {"vocab_size", 300},
                                              {"hidden_size", 256},
                                              {"intermediate_size", 512},
                                              {"num_hidden_layers", 3},
                                              {"num_attention_heads", 4},
                                              {"num_key_value_heads", 2},
                                              {"head_dim", 64},
                                              {"initializer_range", 0.1},
                                              {"max_position_embeddings", 2048}},
                                   .generation_config = {}};
  return std::dynamic_pointer_cast<nn::SequenceModel>(models::find_model(folder).load(
      folder, nn::Weights::from_scratch(5, {.dtype = type, .device = where})));
}

std::vector<std::vector<int64_t>> answers(const std::shared_ptr<nn::SequenceModel>& model,
                                          const nn::EngineOptions& engine_options,
                                          const std::vector<std::vector<int64_t>>& prompts,
                                          bool greedy) {
  nn::Engine engine(model, engine_options);
  std::vector<std::vector<int64_t>> found(prompts.size());
  nn::GenerationOptions options;
  options.sampling.greedy = greedy;
  options.sampling.temperature = 0.2;
  options.max_new_tokens = 24;
  for (size_t i = 0; i < prompts.size(); ++i) {
    options.seed = i;
    engine.submit({.prompt = prompts[i], .options = options, .on_token = [&, i](int64_t id) {
                     found[i].push_back(id);
                     return true;
                   }});
  }
  engine.run();
  return found;
}

// How many ids agree up to the first that does not, of all.
double agreement(const std::vector<std::vector<int64_t>>& a,
                 const std::vector<std::vector<int64_t>>& b) {
  double same = 0;
  double all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto end = std::mismatch(a[i].begin(), a[i].end(), b[i].begin(), b[i].end()).first;
    same += static_cast<double>(end - a[i].begin());
    all += static_cast<double>(a[i].size());
  }
  return same / all;
}

// The CPU's states are fp32: a tie may fall another way, in bf16 eight times as often as in fp16,
// and what follows differs.
TEST(GpuEngine, KernelsAndGraphsAnswerAsTheCpu) {
  const auto prompts = prompts_of(300);
  for (const auto& [type, least] : {std::pair{at::kHalf, 0.8}, {at::kBFloat16, 0.45}}) {
    for (const bool greedy : {true, false}) {
      const auto expected =
          answers(small_llama("cpu", type), {.cache_tokens = 4096}, prompts, greedy);
      const auto model = small_llama("cuda", type);
      EXPECT_GT(agreement(answers(model, {.cache_tokens = 4096}, prompts, greedy), expected),
                least);
      // Prompts in pieces, among others that decode.
      const nn::EngineOptions pieces{
          .cache_tokens = 4096, .batch_tokens = 20, .mixed_tokens = 11, .sequences = 5};
      EXPECT_GT(agreement(answers(model, pieces, prompts, greedy), expected), least);
    }
  }
}

TEST(GpuEngine, RequestsAreAsAlone) {
  const auto model = small_llama("cuda");
  const auto prompts = prompts_of(300);
  const auto together = answers(model, {.cache_tokens = 4096}, prompts, true);
  std::vector<std::vector<int64_t>> alone;
  for (const auto& prompt : prompts) {
    alone.push_back(answers(model, {.cache_tokens = 4096}, {prompt}, true)[0]);
  }
  // Up to 8 rows run through kernels that keep them apart; prompts do not.
  EXPECT_GT(agreement(alone, together), 0.8);
}

}  // namespace
}  // namespace tessera
