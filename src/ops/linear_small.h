// x · Wᵀ with fp32 activations and a narrower stored weight (bf16, fp16, int8 with one scale a
// row), on the CPU. Up to kSmallRows rows run at memory speed: the weight's bytes are read once and
// widened in registers.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::ops {

constexpr int64_t kSmallRows = 16;

/// x fp32 [..., in], weight [out, in] bf16 | fp16 | int8, scale fp32 [out] (int8 only, else
/// undefined)
/// -> fp32 [..., out]. int8 weights are used exactly (weight · scale), activations stay fp32.
at::Tensor linear_mixed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale);

/// The same by plain tensor operations: oracle of the tests and path for layouts without a kernel.
at::Tensor linear_mixed_reference(const at::Tensor& x,
                                  const at::Tensor& weight,
                                  const at::Tensor& scale);

}  // namespace tessera::ops
