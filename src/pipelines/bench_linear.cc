// The linears of the 1.1 G Llama shape (2048 wide, 22 layers, 5632 feed-forward, 4 key/value heads
// of 64, 32000 tokens), as a step of that model calls them, without the rest of the model. Enough
// layers are in memory that no cache holds them; a step's time is scaled to 22.
#include "core/clock.h"
#include "core/error.h"
#include "ops/linear_blocks.h"
#include "pipelines/bench.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>

namespace tessera::pipelines {
namespace {

using io::BlockFormat;
using ops::BlockWeight;

constexpr int64_t kLayers = 22;
constexpr int64_t kWidth = 2048;
constexpr int64_t kInner = 5632;
constexpr int64_t kKeyWidth = 256;
constexpr int64_t kVocabulary = 32000;
constexpr int64_t kBytesInMemory = int64_t{160} << 20;

/// The formats of a file: its own, that of half of the value and down projections, that of the
/// head.
struct Mix {
  BlockFormat own, better, head;
};

Mix mix_of(const std::string& name) {
  if (name == "Q4_K_M") {
    return {BlockFormat::kQ4_K, BlockFormat::kQ6_K, BlockFormat::kQ6_K};
  }
  const std::optional<BlockFormat> format = io::block_format_from_name(name);
  TESSERA_CHECK(format.has_value() && io::can_quantize(*format), InvalidArgument,
                "bench linear: format '{}' is not known; expected Q4_K_M, Q4_0, Q8_0, BF16 …, "
                "GPTQ, AWQ, W4A16 or NF4",
                name);
  const bool low = io::block_bytes(*format, 256) < io::block_bytes(BlockFormat::kQ6_K, 256);
  return {*format, *format, low ? BlockFormat::kQ6_K : *format};
}

/// Rows of random numbers, repeated: what they are does not change the time.
BlockWeight random_weight(BlockFormat format, int64_t out, int64_t in) {
  constexpr int64_t kDifferent = 4;
  const at::Tensor numbers = at::randn({kDifferent, in});
  const int64_t row_bytes = io::block_bytes(format, in);
  at::Tensor blocks = at::empty({out, row_bytes}, at::kByte);
  auto* bytes = reinterpret_cast<std::byte*>(blocks.data_ptr());
  io::quantize(format, numbers.const_data_ptr<float>(), numbers.numel(), bytes);
  for (int64_t o = kDifferent; o < out; ++o) {
    std::memcpy(bytes + o * row_bytes, bytes + o % kDifferent * row_bytes,
                static_cast<size_t>(row_bytes));
  }
  return {blocks, format};
}

struct Layer {
  std::vector<BlockWeight> attention_in, attention_out, gate_up, down;
};

struct Linears {
  std::vector<Layer> layers;
  std::vector<BlockWeight> head;
};

int64_t bytes_of(const std::vector<BlockWeight>& weights) {
  int64_t bytes = 0;
  for (const BlockWeight& weight : weights) {
    bytes += weight.blocks.numel();
  }
  return bytes;
}

int64_t bytes_of(const Layer& layer) {
  return bytes_of(layer.attention_in) + bytes_of(layer.attention_out) + bytes_of(layer.gate_up) +
         bytes_of(layer.down);
}

Linears make_linears(const Mix& mix) {
  Linears linears;
  for (int64_t bytes = 0, i = 0; bytes < kBytesInMemory || i % 2 != 0; ++i) {  // as many of either
    const BlockFormat better = i % 2 == 0 ? mix.better : mix.own;
    linears.layers.push_back({.attention_in = {random_weight(mix.own, kWidth, kWidth),
                                               random_weight(mix.own, kKeyWidth, kWidth),
                                               random_weight(better, kKeyWidth, kWidth)},
                              .attention_out = {random_weight(mix.own, kWidth, kWidth)},
                              .gate_up = {random_weight(mix.own, kInner, kWidth),
                                          random_weight(mix.own, kInner, kWidth)},
                              .down = {random_weight(better, kWidth, kInner)}});
    bytes += bytes_of(linears.layers.back());
  }
  linears.head = {random_weight(mix.head, kVocabulary, kWidth)};
  return linears;
}

/// Best time of the layers and of the head, in seconds for the whole model.
double step_time(const Linears& linears, int64_t rows, bool exact, double seconds) {
  const at::Tensor x = at::randn({rows, kWidth});
  const at::Tensor inner = at::randn({rows, kInner});
  const at::Tensor last = x.narrow(0, 0, rows > 16 ? 1 : rows);  // a prefill asks for one row
  double layers = 1e30;
  double head = 1e30;
  const auto start = Clock::now();
  for (int runs = 0; runs < 3 || seconds_since(start) < seconds; ++runs) {
    const auto begin = Clock::now();
    for (const Layer& layer : linears.layers) {
      ops::linear_blocks(x, layer.attention_in, exact);
      ops::linear_blocks(x, layer.attention_out, exact);
      ops::linear_blocks(x, layer.gate_up, exact);
      ops::linear_blocks(inner, layer.down, exact);
    }
    const auto middle = Clock::now();
    ops::linear_blocks(last, linears.head, exact);
    layers = std::min(layers, seconds_between(begin, middle));
    head = std::min(head, seconds_since(middle));
  }
  return layers * kLayers / static_cast<double>(linears.layers.size()) + head;
}

}  // namespace

io::Json measure_linears(const std::vector<std::string>& formats,
                         const std::vector<int64_t>& rows,
                         bool exact,
                         double seconds) {
  const c10::InferenceMode inference;
  const io::Json machine = measure_machine(std::min(seconds, 0.5));
  const double read = machine.at("read_gb_s").get<double>();
  const double layer_numbers =
      static_cast<double>(2 * kWidth * kWidth + 2 * kWidth * kKeyWidth + 3 * kWidth * kInner);
  io::Json results = io::Json::array();
  for (const std::string& name : formats) {
    if (is_packed_layout(name)) {
      for (io::Json& row : measure_packed(name, rows, seconds, read)) {
        results.push_back(std::move(row));
      }
      continue;
    }
    const Linears linears = make_linears(mix_of(name));
    double bytes = 0;
    for (const Layer& layer : linears.layers) {
      bytes += static_cast<double>(bytes_of(layer));
    }
    bytes = bytes * kLayers / static_cast<double>(linears.layers.size()) +
            static_cast<double>(bytes_of(linears.head));
    for (const int64_t count : rows) {
      const double time = step_time(linears, count, exact, seconds);
      const double head_rows = count > 16 ? 1.0 : static_cast<double>(count);
      const double operations = 2 * (layer_numbers * kLayers * static_cast<double>(count) +
                                     static_cast<double>(kVocabulary * kWidth) * head_rows);
      results.push_back({{"format", name},
                         {"rows", count},
                         {"exact", exact},
                         {"ms", time * 1e3},
                         {"tok_s", static_cast<double>(count) / time},
                         {"weight_mb", bytes / 1e6},
                         {"gb_s", bytes / time / 1e9},
                         {"share_of_read_peak", bytes / time / 1e9 / read},
                         {"gops", operations / time / 1e9}});
    }
  }
  return {{"machine", machine}, {"linears", results}};
}

}  // namespace tessera::pipelines
