// Matrices whose rows are blocks (io/block_format.h), as floats.
#pragma once

#include "io/block_format.h"

#include <ATen/core/Tensor.h>

namespace tessera::ops {

/// blocks u8 [..., row bytes] -> fp32 [..., row numbers], on the CPU.
at::Tensor dequantize_rows(const at::Tensor& blocks, io::BlockFormat format);

}  // namespace tessera::ops
