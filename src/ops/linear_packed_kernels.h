// linear_packed with kernels of choice, for tests and measurements.
#pragma once

#include "ops/cpu/dispatch.h"
#include "ops/linear_packed.h"

namespace tessera::ops {

/// linear_packed with the kernels of one instruction set. Up to kSmallRows rows of x give the same
/// bits together or alone where has_packed_kernel().
at::Tensor linear_packed(const at::Tensor& x,
                         const PackedWeight& weight,
                         const cpu::Kernels& kernels);

/// Whether a kernel reads this weight's layout.
bool has_packed_kernel(const PackedWeight& weight, const cpu::Kernels& kernels);

}  // namespace tessera::ops
