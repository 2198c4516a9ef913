// Row-wise operations between the linears of a language model, in one pass over their data.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::ops {

/// x / √(mean(x²) + epsilon) · weight over the last dimension (arXiv 1910.07467); weight [width] or
/// undefined. One pass for fp32 on the CPU where no gradient is asked for, else at::rms_norm.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

/// silu(gate) · up, equal shapes (arXiv 2002.05202). One pass under the same conditions.
at::Tensor silu_product(const at::Tensor& gate, const at::Tensor& up);

}  // namespace tessera::ops
