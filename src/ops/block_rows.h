// Matrices whose rows are blocks (io/block_format.h), with plain tensor operations: rows as floats,
// and the product with dequantised tiles.
#pragma once

#include "io/block_format.h"

#include <ATen/core/Tensor.h>

namespace tessera::ops {

/// blocks u8 [..., row bytes] -> fp32 [..., row numbers], on the CPU.
at::Tensor dequantize_rows(const at::Tensor& blocks, io::BlockFormat format);

/// x fp32 [..., in], blocks u8 [out, row bytes] of `in` numbers -> fp32 [..., out]. Activations
/// stay fp32: the numbers are those of the dequantised matrix.
at::Tensor linear_block_rows(const at::Tensor& x, const at::Tensor& blocks, io::BlockFormat format);

}  // namespace tessera::ops
