// Recorded outputs of a reference implementation, replayed through a model's entries. A record is a
// parity.safetensors beside the model's files with tensors named
// `<entry>.<case>.<in|out|tap>.<name>`; tests/parity/*.py write them.
#pragma once

#include "models/registry.h"

#include <optional>
#include <string>

namespace tessera::pipelines {

struct ParityResult {
  int64_t compared = 0;                         // tensors
  double largest = 0;                           // largest absolute difference
  std::optional<std::string> first_difference;  // where and how much, beyond the bounds
};

/// Runs every recorded case of `folder` in fp32; a quantised model both as it is stored and with
/// its weights dequantised when it is opened. Bounds: integers equal; floats rtol 1e-4, atol 1e-5.
/// Rows under padding (attention_mask 0) mean nothing and are left out.
ParityResult check_parity(const io::fs::path& folder);

}  // namespace tessera::pipelines
