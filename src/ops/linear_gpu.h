// x · Wᵀ on a GPU: dense weights, and packed ones that are never unpacked as a whole for few rows.
// Few rows go through kernels that are bound by the reading of W, many through cuBLAS.
#pragma once

#include "ops/cuda/kernels.h"
#include "ops/linear_packed.h"

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace tessera::ops {

/// A weight [out, in] on the GPU, with its bias.
struct GpuWeight {
  gpu::WeightFormat format = gpu::WeightFormat::kDense;
  at::Tensor weight;     // dense [out, in]; kInt4: i32 [out, in / 8]; kInt8: i8 [out, in]
  at::Tensor scales;     // kInt4: [out, in / group, 2], scale and zero point; kInt8: fp32 [out]
  int64_t group = 0;     // inputs a scale (kInt4)
  at::Tensor bias = {};  // [out] or undefined

  int64_t out() const { return weight.size(0); }
  int64_t in() const {
    return format == gpu::WeightFormat::kInt4 ? weight.size(1) * 8 : weight.size(1);
  }
};

/// What follows the product.
struct LinearEnd {
  at::Tensor residual = {};  // [..., out]: added; without gradients its memory may be the result's
  bool pair = false;         // W is two weights, one behind the other: silu(first) · second
  bool wide = false;         // the result is fp32
};

/// x [..., in] -> [..., out], or half of it for a pair.
at::Tensor linear_gpu(const at::Tensor& x, const GpuWeight& weight, const LinearEnd& end = {});

/// The weights' numbers [out, in] in `type`.
at::Tensor dequantize_gpu(const GpuWeight& weight, at::ScalarType type);

/// 4-bit codes with groups of whole multiples of 128 inputs, in their own order, moved to `device`;
/// nothing for other layouts. Scales keep their type when it is fp16 or bf16, else become bf16.
std::optional<GpuWeight> gpu_weight(const PackedWeight& weight, at::Device device);

/// One weight of several with the same inputs and format, rows in their order; nothing where they
/// differ. The parts are not changed.
std::optional<GpuWeight> join(const std::vector<GpuWeight>& parts);

}  // namespace tessera::ops
