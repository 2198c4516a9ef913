// Causal self-attention with grouped key/value heads and rotary positions, and the gated MLP: the
// two blocks that the Llama family is made of. Activations are [B, T, D].
#pragma once

#include "nn/cache.h"
#include "nn/linear.h"
#include "nn/rope.h"

#include <memory>

namespace tessera::nn {

/// What one step means for every layer; built once a step.
struct StepContext {
  std::pair<Tensor, Tensor> rope;  // cos, sin [B, 1, T, rotated]
  Tensor mask;                     // bool [B, 1, T, total], true = may look; undefined: causal
  KVCache* cache = nullptr;        // null: no state, the whole sequence at once
  Tensor cu_seqlens = {};          // i32 [documents + 1]: see Step; B = 1, neither mask nor cache
  int64_t max_length = 0;          // of a document, with cu_seqlens
};

/// Mask for T new tokens behind `past` cached ones under left padding: key_mask i64/bool [B, past +
/// T], 0 = padding. Undefined when plain causal attention (or a single new token without padding)
/// is meant.
Tensor attention_mask(
    const Tensor& key_mask, int64_t batch, int64_t past, int64_t tokens, at::Device device);

struct AttentionOptions {
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  bool bias = false;         // on q, k, v
  bool output_bias = false;  // on o
  double init_std = 0.02;
  double output_init_std = 0.02;
};

/// Scaled dot product over q [B, H, T, d], k and v [B, H_kv, total, d] -> [B, T, H·d].
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale);

/// Causal attention inside each of the documents that lie end to end in q [1, H, T, d], k and v
/// [1, H_kv, T, d]; document i is cu_seqlens[i] … cu_seqlens[i + 1] − 1. -> [1, T, H·d]. On the CPU
/// one call a document, which reads cu_seqlens; on CUDA one variable-length flash call in bf16
/// (fp16 stays fp16) without host synchronisation, where `max_length` bounds every document.
Tensor attend_packed(const Tensor& q,
                     const Tensor& k,
                     const Tensor& v,
                     const Tensor& cu_seqlens,
                     int64_t max_length,
                     double scale);

class SelfAttention : public Module {
 public:
  SelfAttention(const Weights& weights,
                const AttentionOptions& options,
                const Rope& rope,
                int64_t layer);
  /// [B, T, hidden] -> [B, T, hidden].
  Tensor forward(const Tensor& x, const StepContext& context) const;

 private:
  AttentionOptions options_;
  const Rope& rope_;  // owned by the model
  int64_t layer_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, o_proj_;
};

/// down(silu(gate x) · up x), arXiv 2002.05202.
class GatedMLP : public Module {
 public:
  GatedMLP(const Weights& weights,
           int64_t hidden,
           int64_t inner,
           bool bias,
           double init_std = 0.02,
           double output_init_std = 0.02);
  Tensor forward(const Tensor& x) const;

 private:
  std::shared_ptr<Linear> gate_proj_, up_proj_, down_proj_;
};

}  // namespace tessera::nn
