// Rotary position embedding (arXiv 2104.09864) with the frequency rules of huggingface/transformers
// modeling_rope_utils: default, linear, dynamic NTK, YaRN (arXiv 2309.00071), LongRoPE (arXiv
// 2402.13753), llama3. Halves layout: x·cos + [−x₂, x₁]·sin.
#pragma once

#include "io/json.h"
#include "nn/module.h"
#include "ops/paged_attention.h"

#include <string>
#include <utility>
#include <vector>

namespace tessera::nn {

struct RopeConfig {
  double theta = 10000.0;
  std::string type = "default";  // default | linear | dynamic | yarn | longrope | llama3
  double factor = 1.0;
  double low_freq_factor = 1.0;      // llama3
  double high_freq_factor = 4.0;     // llama3
  double original_max_position = 0;  // of training: llama3, yarn, longrope
  double max_position = 2048;        // max_position_embeddings
  double attention_factor = 1.0;     // multiplies cos and sin
  double beta_fast = 32.0;           // yarn: rotations over the training length, above: unchanged
  double beta_slow = 1.0;            // yarn: below: divided by factor
  bool truncate = true;              // yarn: the ramp between them begins and ends at whole pairs
  std::vector<double> short_factor = {};  // longrope: divisor of each frequency
  std::vector<double> long_factor = {};   // the same past original_max_position
  double partial = 1.0;                   // share of head_dim that is rotated

  /// Reads both spellings: `rope_theta` + `rope_scaling` (transformers 4) and `rope_parameters`
  /// (5).
  static RopeConfig from_json(const io::Json& config);
  /// Whether a token's rotation depends on how long its sequence is.
  bool depends_on_length() const {
    return type == "dynamic" || (type == "longrope" && short_factor != long_factor);
  }
};

class Rope {
 public:
  /// Frequencies are kept on `device`, so that no step copies them. Throws InvalidArgument when the
  /// rotated width or the number of factors does not fit head_dim.
  Rope(const RopeConfig& config, int64_t head_dim, at::Device device = at::kCPU);

  /// cos and sin for positions i64 [B, T]: each [B, 1, T, rotated] in `dtype` (angles in fp32).
  /// Dynamic and longrope frequencies depend on the largest position of the whole batch.
  std::pair<Tensor, Tensor> tables(const Tensor& positions, at::ScalarType dtype) const;
  /// What a GPU's kernel makes the same of, for a rotation that does not depend on the length.
  ops::RotaryTable table() const { return {inverse_frequencies_, config_.attention_factor}; }
  /// x [B, H, T, head_dim] with its first `rotated` dimensions rotated.
  Tensor apply(const Tensor& x, const std::pair<Tensor, Tensor>& tables) const;

 private:
  Tensor frequencies(const Tensor& positions) const;

  RopeConfig config_;
  int64_t width_;               // head_dim · partial; what the exponents are counted in
  int64_t rotated_;             // the same, rounded up to even
  Tensor exponent_;             // fp32 [rotated / 2]: 2i / width
  Tensor inverse_frequencies_;  // fp32 [rotated / 2]
  Tensor long_frequencies_;     // longrope: those of long_factor
};

}  // namespace tessera::nn
