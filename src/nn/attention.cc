#include "nn/attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

namespace tessera::nn {

Tensor attention_mask(
    const Tensor& key_mask, int64_t batch, int64_t past, int64_t tokens, at::Device device) {
  const bool padded = key_mask.defined() && !key_mask.to(at::kBool).all().item<bool>();
  if (!padded && (tokens == 1 || past == 0)) {
    return {};
  }
  const int64_t total = past + tokens;
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const Tensor query = at::arange(past, total, options).unsqueeze(1);  // [T, 1]
  const Tensor key = at::arange(total, options).unsqueeze(0);          // [1, total]
  Tensor visible = (key <= query).unsqueeze(0).unsqueeze(0);           // [1, 1, T, total]
  if (padded) {
    visible = visible.logical_and(key_mask.to(device).to(at::kBool).view({batch, 1, 1, total}));
  }
  return visible;
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale) {
  const int64_t batch = q.size(0);
  const int64_t heads = q.size(1);
  const int64_t tokens = q.size(2);
  const int64_t groups = heads / k.size(1);
  const std::optional<Tensor> mask_argument = mask.defined() ? std::optional(mask) : std::nullopt;
  Tensor out;
  if (tokens == 1 && groups > 1) {
    // One new token: the query heads of a group become the rows of one small matrix.
    out = at::scaled_dot_product_attention(q.view({batch, k.size(1), groups, q.size(3)}), k, v,
                                           mask_argument, 0.0, false, scale)
              .reshape({batch, heads, 1, q.size(3)});
  } else {
    const bool causal = !mask.defined() && tokens > 1;
    out = at::scaled_dot_product_attention(q, k, v, mask_argument, 0.0, causal, scale,
                                           /*enable_gqa=*/groups > 1);
  }
  return out.transpose(1, 2).reshape({batch, tokens, heads * q.size(3)});
}

SelfAttention::SelfAttention(const Weights& weights,
                             const AttentionOptions& options,
                             const Rope& rope,
                             int64_t layer)
    : Module(weights), options_(options), rope_(rope), layer_(layer) {
  const int64_t width = options.heads * options.head_dim;
  const int64_t kv_width = options.kv_heads * options.head_dim;
  const LinearOptions in{options.bias, Init::normal(options.init_std)};
  const LinearOptions out{options.output_bias, Init::normal(options.output_init_std)};
  q_proj_ = register_module(
      "q_proj", std::make_shared<Linear>(weights.child("q_proj"), options.hidden, width, in));
  k_proj_ = register_module(
      "k_proj", std::make_shared<Linear>(weights.child("k_proj"), options.hidden, kv_width, in));
  v_proj_ = register_module(
      "v_proj", std::make_shared<Linear>(weights.child("v_proj"), options.hidden, kv_width, in));
  o_proj_ = register_module(
      "o_proj", std::make_shared<Linear>(weights.child("o_proj"), width, options.hidden, out));
}

Tensor SelfAttention::forward(const Tensor& x, const StepContext& context) const {
  const int64_t batch = x.size(0);
  const int64_t tokens = x.size(1);
  const auto heads = [&](const Tensor& y, int64_t count) {
    return y.view({batch, tokens, count, options_.head_dim}).transpose(1, 2);  // [B, H, T, d]
  };
  const Tensor q = rope_.apply(heads(q_proj_->forward(x), options_.heads), context.rope);
  Tensor k = rope_.apply(heads(k_proj_->forward(x), options_.kv_heads), context.rope);
  Tensor v = heads(v_proj_->forward(x), options_.kv_heads);
  if (context.cache != nullptr) {
    std::tie(k, v) = context.cache->append(layer_, k, v);
  }
  const double scale = 1.0 / std::sqrt(static_cast<double>(options_.head_dim));
  return tap(*this, o_proj_->forward(attend(q, k, v, context.mask, scale)));
}

GatedMLP::GatedMLP(const Weights& weights,
                   int64_t hidden,
                   int64_t inner,
                   bool bias,
                   double init_std,
                   double output_init_std)
    : Module(weights) {
  const LinearOptions in{bias, Init::normal(init_std)};
  const LinearOptions out{bias, Init::normal(output_init_std)};
  gate_proj_ = register_module(
      "gate_proj", std::make_shared<Linear>(weights.child("gate_proj"), hidden, inner, in));
  up_proj_ = register_module("up_proj",
                             std::make_shared<Linear>(weights.child("up_proj"), hidden, inner, in));
  down_proj_ = register_module(
      "down_proj", std::make_shared<Linear>(weights.child("down_proj"), inner, hidden, out));
}

Tensor GatedMLP::forward(const Tensor& x) const {
  return tap(*this, down_proj_->forward(at::silu(gate_proj_->forward(x)) * up_proj_->forward(x)));
}

}  // namespace tessera::nn
