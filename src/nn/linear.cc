// On the CPU: fp32 weights go to libtorch's GEMM; bf16, fp16 and int8 weights go to
// ops::linear_small for up to 16 rows (bound by memory: it reads the stored bytes once) and
// otherwise are widened tile by tile; rows of blocks go to ops::linear_blocks, packed integers to
// ops::linear_packed. On CUDA the weight's dtype is the activation dtype, or it is packed as
// ops/linear_gpu.h says.
#include "nn/linear.h"

#include "core/error.h"
#include "nn/packed_weight.h"
#include "ops/block_rows.h"
#include "ops/elementwise.h"
#include "ops/linear_blocks.h"
#include "ops/linear_small.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>

namespace tessera::nn {

Linear::Linear(const Weights& weights, int64_t in, int64_t out, LinearOptions options)
    : Module(weights), blocks_(weights.block_format_of("weight")) {
  take_weight(weights, in, out, options.init);
  if (options.bias) {
    bias_ = parameter("bias", weights.small_tensor("bias", {out}, Init::constant(0.0)));
  }
}

void Linear::take_weight(const Weights& weights, int64_t in, int64_t out, const Init& init) {
  if (blocks_) {
    weight_ = parameter("weight", weights.block_rows("weight", {out, in}));
    return;
  }
  if (draw_packed(weights, in, out)) {
    return;
  }
  std::optional<QuantizedWeight> quantised = quantized_weight(weights, in, out);
  if (!quantised) {
    weight_ = parameter("weight", weights.tensor("weight", {out, in}, init));
    TESSERA_CHECK(weight_.is_floating_point(), CorruptFile,
                  "{}.weight holds integers, and config.json's quantization_config does not say "
                  "what they stand for",
                  path());
    return;
  }
  const LoadOptions& load = weights.options();
  if (!load.device.is_cpu() && !load.dtype.has_value()) {
    if (quantised->packed) {
      packed_gpu_ = ops::gpu_weight(*quantised->packed, load.device);
    } else if (in % 16 == 0) {
      packed_gpu_ = ops::GpuWeight{.format = ops::gpu::WeightFormat::kInt8,
                                   .weight = quantised->values.to(load.device),
                                   .scales = quantised->scale.to(load.device, at::kFloat)};
    }
    if (packed_gpu_) {
      packed_gpu_->weight = parameter("weight", packed_gpu_->weight);
      packed_gpu_->scales = parameter("weight_scale", packed_gpu_->scales);
      return;
    }
  }
  // A chosen dtype means "the numbers of a dense model in that dtype": dequantise now.
  if (load.dtype.has_value() || !load.device.is_cpu()) {
    const Tensor numbers = quantised->packed
                               ? ops::dequantize_packed(*quantised->packed)
                               : quantised->values.to(at::kFloat) * quantised->scale.unsqueeze(1);
    weight_ = parameter("weight", numbers.to(load.dtype.value_or(at::kBFloat16)).to(load.device));
  } else if (quantised->packed) {
    packed_ = std::move(quantised->packed);
  } else {
    weight_ = parameter("weight", quantised->values);
    scale_ = parameter("weight_scale", quantised->scale);
  }
}

// Random 4-bit codes, for measurements of shapes without a checkpoint.
bool Linear::draw_packed(const Weights& weights, int64_t in, int64_t out) {
  const LoadOptions& load = weights.options();
  const io::LayerQuantization layer = weights.quantization();
  if (!weights.is_scratch() || layer.method == io::QuantizationMethod::kNone) {
    return false;
  }
  TESSERA_CHECK(layer.bits == 4 && !load.device.is_cpu(), Unsupported,
                "{}: random quantised weights have 4 bits and are on a GPU", path());
  TESSERA_CHECK(layer.group_size > 0 && layer.group_size % 128 == 0 && in % layer.group_size == 0,
                Unsupported, "{}: random codes come in groups of 128 inputs, not {} of {}", path(),
                layer.group_size, in);
  const auto words = at::TensorOptions().dtype(at::kInt).device(load.device);
  const Tensor scale = at::full({out, in / layer.group_size}, 0.005,
                                words.dtype(load.dtype.value_or(at::kBFloat16)));
  packed_gpu_ = ops::GpuWeight{
      .format = ops::gpu::WeightFormat::kInt4,
      .weight = parameter("weight", at::randint(INT32_MIN, INT32_MAX, {out, in / 8}, words)),
      .scales = parameter("weight_scale", at::stack({scale, at::full_like(scale, 8)}, 2)),
      .group = layer.group_size};
  return true;
}

ops::GpuWeight Linear::gpu_weight() const {
  ops::GpuWeight weight;
  weight.weight = weight_;
  if (packed_gpu_) {
    weight = *packed_gpu_;
  }
  weight.bias = bias_;
  return weight;
}

std::optional<ops::GpuWeight> Linear::join(const std::vector<std::shared_ptr<Linear>>& parts) {
  const at::NoGradGuard no_gradient;
  std::vector<ops::GpuWeight> weights;
  for (const auto& part : parts) {
    weights.push_back(part->gpu_weight());
  }
  std::optional<ops::GpuWeight> whole = ops::join(weights);
  int64_t row = 0;
  for (size_t i = 0; whole && i < parts.size(); ++i) {
    // The parameter's tensor stays, its memory goes.
    const int64_t rows = weights[i].out();
    weights[i].weight.set_data(whole->weight.narrow(0, row, rows));
    if (weights[i].scales.defined()) {
      weights[i].scales.set_data(whole->scales.narrow(0, row, rows));
    }
    row += rows;
  }
  return whole;
}

Linear::Linear(const Weights& weights, const Embedding& table)
    : Module(weights), weight_(table.weight()), blocks_(table.blocks()) {}

Tensor Linear::product(const Tensor& x) const {
  if (blocks_) {
    const Tensor y = ops::linear_blocks(x, weight_, *blocks_, /*exact=*/false);
    return bias_.defined() ? y + bias_ : y;
  }
  if (packed_) {
    const Tensor y = ops::linear_packed(x, *packed_);
    return bias_.defined() ? y + bias_ : y;
  }
  if (packed_gpu_) {
    return ops::linear_gpu(x, gpu_weight());
  }
  if (!weight_.is_cpu() || weight_.scalar_type() == x.scalar_type()) {
    return at::linear(x, weight_, bias_);
  }
  const Tensor y = ops::linear_mixed(x, weight_, scale_);
  return bias_.defined() ? y + bias_ : y;
}

Tensor Linear::forward(const Tensor& x) const {
  return tap(*this, product(x));
}

Tensor Linear::forward(const Tensor& x, const ops::LinearEnd& end) const {
  return ops::linear_gpu(x, gpu_weight(), end);
}

Embedding::Embedding(const Weights& weights, int64_t count, int64_t width, Init init)
    : Module(weights), blocks_(weights.block_format_of("weight")) {
  weight_ = parameter("weight", blocks_ ? weights.block_rows("weight", {count, width})
                                        : weights.tensor("weight", {count, width}, init));
}

Tensor Embedding::forward(const Tensor& ids) const {
  if (blocks_) {  // the rows that are looked up, and no others
    std::vector<int64_t> shape = ids.sizes().vec();
    shape.push_back(-1);
    const Tensor rows = ops::dequantize_rows(weight_.index_select(0, ids.flatten()), *blocks_);
    return tap(*this, rows.view(shape));
  }
  Tensor rows = at::embedding(weight_, ids);
  if (rows.is_cpu() && at::isReducedFloatingType(rows.scalar_type())) {
    rows = rows.to(at::kFloat);
  }
  return tap(*this, rows);
}

RMSNorm::RMSNorm(const Weights& weights, int64_t width, double epsilon, bool unit_offset)
    : Module(weights),
      weight_(parameter(
          "weight",
          weights.small_tensor("weight", {width}, Init::constant(unit_offset ? 0.0 : 1.0)))),
      epsilon_(epsilon),
      unit_offset_(unit_offset) {}

Tensor RMSNorm::forward(const Tensor& x) const {
  return tap(*this, ops::rms_norm(x, weight_, epsilon_, unit_offset_));
}

}  // namespace tessera::nn
