// x · Wᵀ with fp32 activations and a weight of packed integers or table entries (io/packed_rows.h),
// on the CPU. The stored bytes stay where they are: kernels read them, or tiles become floats.
#pragma once

#include "io/packed_rows.h"

#include <ATen/core/Tensor.h>

#include <variant>
#include <vector>

namespace tessera::ops {

/// A weight [out, in] as a file holds it.
struct PackedWeight {
  std::variant<io::GroupedRows, io::TableRows> rows;
  std::vector<at::Tensor> storage;  // what `rows` points into

  int64_t out() const;
  int64_t in() const;
};

/// x fp32 [..., in] -> fp32 [..., out], the dequantised weight's numbers, sums as in fp32; beside
/// outliers the other activations lose low bits (docs/numerics.md).
/// Differentiable in x. Throws InvalidArgument for another x.
at::Tensor linear_packed(const at::Tensor& x, const PackedWeight& weight);

/// The whole weight as fp32 [out, in].
at::Tensor dequantize_packed(const PackedWeight& weight);

}  // namespace tessera::ops
