// The quantised weight of one Linear, from the tensors that its format stores.
#pragma once

#include "nn/weights.h"
#include "ops/linear_packed.h"

#include <optional>

namespace tessera::nn {

/// Either `packed`, or int8 `values` [out, in] with fp32 `scale` [out].
struct QuantizedWeight {
  std::optional<ops::PackedWeight> packed;
  Tensor values;
  Tensor scale;
};

/// The weight of a Linear at `weights`, whose bytes stay in the file's map; nothing when
/// config.json says that it is plain, or when the checkpoint has no tensors of the format there.
/// Tensors that are missing or of another shape are recorded for Weights::finish, and the result
/// then stands for nothing. Throws CorruptFile, naming the tensor, for values that cannot be
/// (indices out of range).
std::optional<QuantizedWeight> quantized_weight(const Weights& weights, int64_t in, int64_t out);

}  // namespace tessera::nn
