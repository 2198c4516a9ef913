// Causal self-attention with grouped key/value heads and rotary positions, and the gated MLP: the
// two blocks that the Llama family is made of. Activations are [B, T, D].
#pragma once

#include "nn/cache.h"
#include "nn/linear.h"
#include "nn/paged_cache.h"
#include "nn/rope.h"

#include <memory>
#include <optional>
#include <string>

namespace tessera::nn {

/// What one step means for every layer; built once a step.
struct StepContext {
  std::pair<Tensor, Tensor> rope;  // cos, sin [B, 1, T, rotated]
  Tensor mask;                     // bool [B, 1, T, total], true = may look; undefined: causal
  Tensor window_mask = {};         // the same for layers with a window
  KVCache* cache = nullptr;        // null: no state, the whole sequence at once
  Tensor cu_seqlens = {};          // i32 [documents + 1]: see Step; B = 1, neither mask nor cache
  int64_t max_length = 0;          // of a document, with cu_seqlens
  ops::RotaryTable rotary = {};    // in place of `rope`, for forward_gpu
  PagedCache* pages = nullptr;     // many sequences end to end: see Step; neither mask nor cache
  const ops::PagedBatch* batch = nullptr;
};

/// Mask for T new tokens behind `past` cached ones under left padding: key_mask i64/bool [B, past +
/// T], 0 = padding. `window` > 0: a query sees that many keys at most, its own included, counted in
/// places of the row (padding too). Undefined when plain causal attention is meant, or a single new
/// token without padding, whose window is cut from the keys.
Tensor attention_mask(const Tensor& key_mask,
                      int64_t batch,
                      int64_t past,
                      int64_t tokens,
                      at::Device device,
                      int64_t window = 0);

using ops::ScoreOptions;

/// Scaled dot product over q [B, H, T, d], k and v [B, H_kv, total, d] -> [B, T, H·d]. The window
/// is the mask's matter.
Tensor attend(const Tensor& q,
              const Tensor& k,
              const Tensor& v,
              const Tensor& mask,
              const ScoreOptions& options);

/// Causal attention inside each of the documents that lie end to end in q [1, H, T, d], k and v
/// [1, H_kv, T, d]; document i is cu_seqlens[i] … cu_seqlens[i + 1] − 1. -> [1, T, H·d]. On the CPU
/// one call a document, which reads cu_seqlens; on CUDA one variable-length flash call in bf16
/// (fp16 stays fp16) without host synchronisation, where `max_length` bounds every document and
/// capped scores are Unsupported.
Tensor attend_packed(const Tensor& q,
                     const Tensor& k,
                     const Tensor& v,
                     const Tensor& cu_seqlens,
                     int64_t max_length,
                     const ScoreOptions& options);

/// Where the rows of q, k and v lie in the checkpoint.
enum class QkvLayout {
  kSeparate,  // three tensors
  kStacked,   // one: all heads of q, then of k, then of v
  kGrouped,   // one: for each key/value head its query heads, then k, then v
};

struct AttentionOptions {
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  bool bias = false;         // on q, k, v
  bool output_bias = false;  // on o
  double init_std = 0.02;
  double output_init_std = 0.02;
  ScoreOptions scores = {};
  double head_norm_epsilon = 0.0;  // > 0: an RMSNorm of each head of q and k before the rotation
  QkvLayout layout = QkvLayout::kSeparate;
  std::string fused_name = "qkv_proj";  // of the one tensor
  std::string output_name = "o_proj";
};

class SelfAttention : public Module {
 public:
  SelfAttention(const Weights& weights,
                const AttentionOptions& options,
                const Rope& rope,
                int64_t layer);
  /// [B, T, hidden] -> [B, T, hidden].
  Tensor forward(const Tensor& x, const StepContext& context) const;
  /// A step over pages on a GPU; `residual` [B, T, hidden] is added when defined.
  Tensor forward_gpu(const Tensor& x, const StepContext& context, const Tensor& residual) const;
  /// See SequenceModel::prepare_for_pages.
  void prepare_for_pages();

 private:
  struct Heads {
    Tensor q, k, v;  // [B, T, heads, d]
  };
  void make_inputs(const Weights& weights);
  Heads project(const Tensor& x) const;
  Heads split(const Tensor& all) const;

  AttentionOptions options_;
  const Rope& rope_;  // owned by the model
  int64_t layer_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, qkv_proj_, o_proj_;
  std::shared_ptr<RMSNorm> q_norm_, k_norm_;
  std::optional<ops::GpuWeight> joined_;  // of q, k and v
};

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

struct MlpOptions {
  int64_t hidden = 0;
  int64_t inner = 0;
  bool bias = false;
  Activation activation = Activation::kSilu;
  double init_std = 0.02;
  double output_init_std = 0.02;
  bool fused = false;  // the rows of gate and up in one tensor, named by `fused_name`
  std::string gate_name = "gate_proj";
  std::string up_name = "up_proj";
  std::string down_name = "down_proj";
  std::string fused_name = "gate_up_proj";
};

/// down(activation(gate x) · up x), arXiv 2002.05202.
class GatedMLP : public Module {
 public:
  GatedMLP(const Weights& weights, const MlpOptions& options);
  Tensor forward(const Tensor& x) const;
  /// The same on a GPU without gradients and taps; `residual` [B, T, hidden] is added when defined.
  Tensor forward_gpu(const Tensor& x, const Tensor& residual) const;
  /// See SequenceModel::prepare_for_pages.
  void prepare_for_pages();

 private:
  Activation activation_;
  std::shared_ptr<Linear> gate_proj_, up_proj_, gate_up_proj_, down_proj_;
  std::optional<ops::GpuWeight> joined_;  // of gate and up
};

}  // namespace tessera::nn
