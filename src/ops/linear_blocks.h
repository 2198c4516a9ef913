// x · Wᵀ with fp32 activations and a weight in one of GGUF's block formats, on the CPU. The stored
// bytes are read once, in place, and unpacked in registers or into a panel in the L1 cache.
#pragma once

#include "io/block_format.h"

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

namespace tessera::ops {

/// A weight [out, in] as a file holds it. `blocks` is u8 [out, row_bytes], contiguous, and may
/// start at any address.
struct BlockWeight {
  at::Tensor blocks;
  io::BlockFormat format;
};

/// Numbers in a row of `weight`. Throws InvalidArgument when `blocks` is not u8 [out, whole
/// blocks].
int64_t block_weight_width(const BlockWeight& weight);

/// x fp32 [..., in] -> fp32 [..., out].
/// exact: the dequantised weight's numbers, fp32 activations, fp32 sums. Otherwise activations are
/// rounded to int8 with one scale for each 32 numbers (largest magnitude / 127), which bounds the
/// error of an output by Σ_i |w_i| · scale(i) / 2; the portable instruction set and AVX2's larger
/// batches stay exact. Plain formats (F32, F16, BF16) are always exact. Differentiable in x.
at::Tensor linear_blocks(const at::Tensor& x,
                         const at::Tensor& blocks,
                         io::BlockFormat format,
                         bool exact);

/// Several weights for the same x (query, key and value; gate and up): x is rounded once and the
/// threads are started once. Returns one tensor a weight.
std::vector<at::Tensor> linear_blocks(const at::Tensor& x,
                                      std::span<const BlockWeight> weights,
                                      bool exact);

/// The whole weight as fp32 [out, in].
at::Tensor dequantize_blocks(const BlockWeight& weight);

/// The same as exact linear_blocks by plain tensor operations on the scalar dequantisation: oracle
/// of the tests and differentiable path.
at::Tensor linear_blocks_reference(const at::Tensor& x, const BlockWeight& weight);

}  // namespace tessera::ops
