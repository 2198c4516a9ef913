// Rotary position embedding (arXiv 2104.09864) with the frequency rules of huggingface/transformers
// modeling_rope_utils: default, linear, llama3. Halves layout: x·cos + [−x₂, x₁]·sin.
#pragma once

#include "io/json.h"
#include "nn/module.h"

#include <utility>

namespace tessera::nn {

struct RopeConfig {
  double theta = 10000.0;
  std::string type = "default";  // default | linear | llama3
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position = 0;
  double partial = 1.0;  // share of head_dim that is rotated

  /// Reads both spellings: `rope_theta` + `rope_scaling` (transformers 4) and `rope_parameters`
  /// (5).
  static RopeConfig from_json(const io::Json& config);
};

class Rope {
 public:
  /// Frequencies are kept on `device`, so that no step copies them.
  Rope(const RopeConfig& config, int64_t head_dim, at::Device device = at::kCPU);

  /// cos and sin for positions i64 [B, T]: each [B, 1, T, rotated] in `dtype` (angles in fp32).
  std::pair<Tensor, Tensor> tables(const Tensor& positions, at::ScalarType dtype) const;
  /// x [B, H, T, head_dim] with its first `rotated` dimensions rotated.
  Tensor apply(const Tensor& x, const std::pair<Tensor, Tensor>& tables) const;

 private:
  Tensor inverse_frequencies_;  // fp32 [rotated / 2]
  int64_t rotated_;
};

}  // namespace tessera::nn
