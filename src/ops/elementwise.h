// Row-wise operations between the linears of a language model, in one pass over their data.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::ops {

/// x / √(mean(x²) + epsilon) · weight over the last dimension (arXiv 1910.07467); weight [width] or
/// undefined. unit_offset: · (1 + weight), in fp32. One pass for fp32 on the CPU and for all on a
/// GPU with our kernels, where no gradient is asked for; else at::rms_norm.
at::Tensor rms_norm(const at::Tensor& x,
                    const at::Tensor& weight,
                    double epsilon,
                    bool unit_offset = false);

/// silu(gate) · up, equal shapes (arXiv 2002.05202). One pass under the same conditions;
/// on a GPU they may be halves of rows.
at::Tensor silu_product(const at::Tensor& gate, const at::Tensor& up);

}  // namespace tessera::ops
