// Packed documents (training): block-diagonal attention by cumulative lengths, so that the cost is
// that of the documents and not of the whole sequence squared.
#include "nn/attention.h"

#include "core/error.h"
#include "ops/elementwise.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>

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

namespace {

// Empty documents, which fill cu_seqlens up to a fixed size, are left out.
std::vector<int64_t> document_lengths(const Tensor& cu_seqlens, int64_t tokens) {
  TESSERA_CHECK(cu_seqlens.scalar_type() == at::kInt && cu_seqlens.dim() == 1, InvalidArgument,
                "cu_seqlens must be i32 [documents + 1]");
  const Tensor ends = cu_seqlens.contiguous();
  const std::span<const int32_t> bounds(ends.const_data_ptr<int32_t>(),
                                        static_cast<size_t>(ends.numel()));
  std::vector<int64_t> lengths;
  for (size_t i = 1; i < bounds.size(); ++i) {
    TESSERA_CHECK(bounds[i] >= bounds[i - 1], InvalidArgument, "cu_seqlens must not fall");
    if (bounds[i] > bounds[i - 1]) {
      lengths.push_back(bounds[i] - bounds[i - 1]);
    }
  }
  TESSERA_CHECK(!bounds.empty() && bounds.front() == 0 && bounds.back() == tokens, InvalidArgument,
                "cu_seqlens must go from 0 to {}", tokens);
  return lengths;
}

}  // namespace

Tensor attend_packed(const Tensor& q,
                     const Tensor& k,
                     const Tensor& v,
                     const Tensor& cu_seqlens,
                     int64_t max_length,
                     double scale) {
  const int64_t tokens = q.size(2);
  const int64_t width = q.size(1) * q.size(3);
  if (q.is_cpu()) {
    const std::vector<int64_t> lengths = document_lengths(cu_seqlens, tokens);
    // split's backward is one concatenation; narrow's would fill the whole length each time.
    const std::vector<Tensor> qs = q.split_with_sizes(lengths, 2);
    const std::vector<Tensor> ks = k.split_with_sizes(lengths, 2);
    const std::vector<Tensor> vs = v.split_with_sizes(lengths, 2);
    std::vector<Tensor> outs;
    for (size_t i = 0; i < lengths.size(); ++i) {
      outs.push_back(attend(qs[i], ks[i], vs[i], {}, scale));
    }
    return at::cat(outs, 1);
  }
  const at::ScalarType type =
      at::isReducedFloatingType(q.scalar_type()) ? q.scalar_type() : at::kBFloat16;
  const auto flat = [&](const Tensor& x) { return x.squeeze(0).transpose(0, 1).to(type); };
  const Tensor out = std::get<0>(at::_flash_attention_forward(
      flat(q), flat(k), flat(v), cu_seqlens, cu_seqlens, max_length, max_length, 0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scale));  // [T, H, d]
  return out.reshape({1, tokens, width});
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
  const Tensor y = context.cu_seqlens.defined()
                       ? attend_packed(q, k, v, context.cu_seqlens, context.max_length, scale)
                       : attend(q, k, v, context.mask, scale);
  return tap(*this, o_proj_->forward(y));
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
  return tap(*this,
             down_proj_->forward(ops::silu_product(gate_proj_->forward(x), up_proj_->forward(x))));
}

}  // namespace tessera::nn
