// Packed documents (training): block-diagonal attention by cumulative lengths, so that the cost is
// that of the documents and not of the whole sequence squared. Capped scores have no fused kernel:
// they are written out.
#include "nn/attention.h"

#include "core/error.h"
#include "ops/decode_attention.h"
#include "ops/elementwise.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>

#include <limits>

namespace tessera::nn {

Tensor attention_mask(const Tensor& key_mask,
                      int64_t batch,
                      int64_t past,
                      int64_t tokens,
                      at::Device device,
                      int64_t window) {
  const int64_t total = past + tokens;
  const bool padded = key_mask.defined() && !key_mask.to(at::kBool).all().item<bool>();
  const bool windowed = window > 0 && total > window;
  if (!padded && (tokens == 1 || (past == 0 && !windowed))) {
    return {};
  }
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const Tensor query = at::arange(past, total, options).unsqueeze(1);  // [T, 1]
  const Tensor key = at::arange(total, options).unsqueeze(0);          // [1, total]
  Tensor visible = key <= query;
  if (windowed) {
    visible = visible.logical_and(key > query - window);
  }
  visible = visible.unsqueeze(0).unsqueeze(0);  // [1, 1, T, total]
  if (padded) {
    visible = visible.logical_and(key_mask.to(device).to(at::kBool).view({batch, 1, 1, total}));
  }
  return visible;
}

namespace {

// A query that may see nothing (padding) looks at every key alike, as the reference's additive mask
// makes it do.
Tensor attend_capped(const Tensor& q,
                     const Tensor& k,
                     const Tensor& v,
                     const Tensor& mask,
                     const ScoreOptions& options) {
  const int64_t batch = q.size(0);
  const int64_t tokens = q.size(2);
  const int64_t kv_heads = k.size(1);
  const int64_t groups = q.size(1) / kv_heads;
  const Tensor rows = q.reshape({batch, kv_heads, groups * tokens, q.size(3)});
  Tensor scores = at::matmul(rows, k.transpose(2, 3)) * options.scale;
  scores = at::tanh(scores / options.cap) * options.cap;
  Tensor visible = mask;
  if (!visible.defined() && tokens > 1) {
    visible =
        at::ones({1, 1, tokens, k.size(2)}, q.options().dtype(at::kBool)).tril(k.size(2) - tokens);
  }
  if (visible.defined()) {
    scores =
        scores.view({batch, kv_heads, groups, tokens, k.size(2)})
            .masked_fill(visible.unsqueeze(2).logical_not(), std::numeric_limits<float>::lowest())
            .view({batch, kv_heads, groups * tokens, k.size(2)});
  }
  const Tensor weights = at::softmax(scores, -1, at::kFloat).to(v.scalar_type());
  return at::matmul(weights, v).reshape({batch, q.size(1), tokens, v.size(3)});
}

}  // namespace

Tensor attend(const Tensor& q,
              const Tensor& k,
              const Tensor& v,
              const Tensor& mask,
              const ScoreOptions& options) {
  const int64_t batch = q.size(0);
  const int64_t heads = q.size(1);
  const int64_t tokens = q.size(2);
  const int64_t groups = heads / k.size(1);
  if (options.cap <= 0 && ops::has_decode_attention(q, k, v)) {
    return ops::decode_attention(q, k, v, mask, options.scale);
  }
  const std::optional<Tensor> mask_argument = mask.defined() ? std::optional(mask) : std::nullopt;
  Tensor out;
  if (options.cap > 0) {
    out = attend_capped(q, k, v, mask, options);
  } else if (tokens == 1 && groups > 1) {
    // One new token: the query heads of a group become the rows of one small matrix.
    out = at::scaled_dot_product_attention(q.view({batch, k.size(1), groups, q.size(3)}), k, v,
                                           mask_argument, 0.0, false, options.scale)
              .reshape({batch, heads, 1, q.size(3)});
  } else {
    const bool causal = !mask.defined() && tokens > 1;
    out = at::scaled_dot_product_attention(q, k, v, mask_argument, 0.0, causal, options.scale,
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
                     const ScoreOptions& options) {
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
      const Tensor mask = attention_mask({}, 1, 0, lengths[i], q.device(), options.window);
      outs.push_back(attend(qs[i], ks[i], vs[i], mask, options));
    }
    return at::cat(outs, 1);
  }
  TESSERA_CHECK(options.cap <= 0, Unsupported,
                "packed documents with capped scores run on the CPU only");
  const at::ScalarType type =
      at::isReducedFloatingType(q.scalar_type()) ? q.scalar_type() : at::kBFloat16;
  const auto flat = [&](const Tensor& x) { return x.squeeze(0).transpose(0, 1).to(type); };
  const int64_t right = options.window > 0 ? 0 : -1;  // −1: no bound but the causal one
  const Tensor out = std::get<0>(at::_flash_attention_forward(
      flat(q), flat(k), flat(v), cu_seqlens, cu_seqlens, max_length, max_length, 0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, options.scale, options.window - 1,
      right));  // [T, H, d]
  return out.reshape({1, tokens, width});
}

SelfAttention::SelfAttention(const Weights& weights,
                             const AttentionOptions& options,
                             const Rope& rope,
                             int64_t layer)
    : Module(weights), options_(options), rope_(rope), layer_(layer) {
  make_inputs(weights);
  const LinearOptions out{options.output_bias, Init::normal(options.output_init_std)};
  o_proj_ = register_module(
      options.output_name,
      std::make_shared<Linear>(weights.child(options.output_name), options.heads * options.head_dim,
                               options.hidden, out));
  if (options.head_norm_epsilon > 0) {
    q_norm_ = register_module("q_norm",
                              std::make_shared<RMSNorm>(weights.child("q_norm"), options.head_dim,
                                                        options.head_norm_epsilon));
    k_norm_ = register_module("k_norm",
                              std::make_shared<RMSNorm>(weights.child("k_norm"), options.head_dim,
                                                        options.head_norm_epsilon));
  }
}

void SelfAttention::make_inputs(const Weights& weights) {
  const int64_t width = options_.heads * options_.head_dim;
  const int64_t kv_width = options_.kv_heads * options_.head_dim;
  const LinearOptions in{options_.bias, Init::normal(options_.init_std)};
  const auto linear = [&](const std::string& name, int64_t out) {
    return register_module(name,
                           std::make_shared<Linear>(weights.child(name), options_.hidden, out, in));
  };
  if (options_.layout == QkvLayout::kSeparate) {
    q_proj_ = linear("q_proj", width);
    k_proj_ = linear("k_proj", kv_width);
    v_proj_ = linear("v_proj", kv_width);
  } else {
    qkv_proj_ = linear(options_.fused_name, width + 2 * kv_width);
  }
}

SelfAttention::Heads SelfAttention::project(const Tensor& x) const {
  const int64_t batch = x.size(0);
  const int64_t tokens = x.size(1);
  const int64_t heads = options_.heads;
  const int64_t kv_heads = options_.kv_heads;
  const auto split = [&](const Tensor& y, int64_t count) {
    return y.view({batch, tokens, count, options_.head_dim});
  };
  if (options_.layout == QkvLayout::kSeparate) {
    return {split(q_proj_->forward(x), heads), split(k_proj_->forward(x), kv_heads),
            split(v_proj_->forward(x), kv_heads)};
  }
  return this->split(qkv_proj_->forward(x));
}

// The output of one linear for q, k and v.
SelfAttention::Heads SelfAttention::split(const Tensor& y) const {
  const int64_t batch = y.size(0);
  const int64_t tokens = y.size(1);
  const int64_t heads = options_.heads;
  const int64_t kv_heads = options_.kv_heads;
  const Tensor all = y.view({batch, tokens, heads + 2 * kv_heads, options_.head_dim});
  if (options_.layout != QkvLayout::kGrouped) {
    return {all.narrow(2, 0, heads), all.narrow(2, heads, kv_heads),
            all.narrow(2, heads + kv_heads, kv_heads)};
  }
  const int64_t groups = heads / kv_heads;
  const Tensor parts = all.view({batch, tokens, kv_heads, groups + 2, options_.head_dim});
  return {parts.narrow(3, 0, groups).reshape({batch, tokens, heads, options_.head_dim}),
          parts.select(3, groups), parts.select(3, groups + 1)};
}

Tensor SelfAttention::forward(const Tensor& x, const StepContext& context) const {
  Heads heads = project(x);
  if (q_norm_ != nullptr) {
    heads.q = q_norm_->forward(heads.q);
    heads.k = k_norm_->forward(heads.k);
  }
  const Tensor q = rope_.apply(heads.q.transpose(1, 2), context.rope);  // [B, H, T, d]
  Tensor k = rope_.apply(heads.k.transpose(1, 2), context.rope);
  if (context.pages != nullptr) {
    const auto rows = [](const Tensor& y) { return y.squeeze(0).transpose(0, 1); };  // [N, H, d]
    Tensor& keys = context.pages->keys(layer_);
    Tensor& values = context.pages->values(layer_);
    ops::paged_append(rows(k), heads.v.squeeze(0), *context.batch, keys, values);
    const Tensor y = ops::paged_attention(rows(q), keys, values, *context.batch, options_.scores);
    return tap(*this, o_proj_->forward(y.unsqueeze(0)));
  }
  Tensor v = heads.v.transpose(1, 2);
  if (context.cache != nullptr) {
    std::tie(k, v) = context.cache->append(layer_, k, v);
  }
  const int64_t window = options_.scores.window;
  Tensor mask = window > 0 ? context.window_mask : context.mask;
  const int64_t hidden = window > 0 && x.size(1) == 1 ? k.size(2) - window : 0;
  if (hidden > 0) {  // a single query: what lies before its window is left out
    k = k.narrow(2, hidden, window);
    v = v.narrow(2, hidden, window);
    mask = mask.defined() ? mask.narrow(3, hidden, window) : mask;
  }
  const Tensor y = context.cu_seqlens.defined() ? attend_packed(q, k, v, context.cu_seqlens,
                                                                context.max_length, options_.scores)
                                                : attend(q, k, v, mask, options_.scores);
  return tap(*this, o_proj_->forward(y));
}

Tensor SelfAttention::forward_gpu(const Tensor& x,
                                  const StepContext& context,
                                  const Tensor& residual) const {
  Heads heads = joined_ ? split(ops::linear_gpu(x, *joined_)) : project(x);
  if (q_norm_ != nullptr) {
    heads.q = q_norm_->forward(heads.q);
    heads.k = k_norm_->forward(heads.k);
  }
  if (options_.layout == QkvLayout::kGrouped) {  // the kernel takes heads that lie together
    heads.k = heads.k.contiguous();
    heads.v = heads.v.contiguous();
  }
  const Tensor y = ops::paged_rotary_attention(heads.q.squeeze(0), heads.k.squeeze(0),
                                               heads.v.squeeze(0), context.rotary,
                                               context.batch->device, context.pages->keys(layer_),
                                               context.pages->values(layer_), options_.scores);
  return o_proj_->forward(y.unsqueeze(0), {.residual = residual});
}

void SelfAttention::prepare_for_pages() {
  if (!joined_ && q_proj_ != nullptr) {
    joined_ = Linear::join({q_proj_, k_proj_, v_proj_});
  }
}

GatedMLP::GatedMLP(const Weights& weights, const MlpOptions& options)
    : Module(weights), activation_(options.activation) {
  const auto linear = [&](const std::string& name, int64_t in, int64_t out, double init_std) {
    return register_module(
        name, std::make_shared<Linear>(weights.child(name), in, out,
                                       LinearOptions{options.bias, Init::normal(init_std)}));
  };
  if (options.fused) {
    gate_up_proj_ = linear(options.fused_name, options.hidden, 2 * options.inner, options.init_std);
  } else {
    gate_proj_ = linear(options.gate_name, options.hidden, options.inner, options.init_std);
    up_proj_ = linear(options.up_name, options.hidden, options.inner, options.init_std);
  }
  down_proj_ = linear(options.down_name, options.inner, options.hidden, options.output_init_std);
}

namespace {

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  return x;
}

}  // namespace

Tensor GatedMLP::forward(const Tensor& x) const {
  Tensor gate;
  Tensor up;
  if (gate_up_proj_ != nullptr) {
    const std::vector<Tensor> halves = gate_up_proj_->forward(x).chunk(2, -1);
    gate = halves[0];
    up = halves[1];
  } else {
    gate = gate_proj_->forward(x);
    up = up_proj_->forward(x);
  }
  const Tensor product = activation_ == Activation::kSilu ? ops::silu_product(gate, up)
                                                          : activate(gate, activation_) * up;
  return tap(*this, down_proj_->forward(product));
}

Tensor GatedMLP::forward_gpu(const Tensor& x, const Tensor& residual) const {
  Tensor product;
  const bool whole = joined_.has_value() || gate_up_proj_ != nullptr;
  if (whole && activation_ == Activation::kSilu) {
    const ops::LinearEnd pair{.pair = true};
    product = joined_ ? ops::linear_gpu(x, *joined_, pair) : gate_up_proj_->forward(x, pair);
  } else {
    const Tensor both = joined_                    ? ops::linear_gpu(x, *joined_)
                        : gate_up_proj_ != nullptr ? gate_up_proj_->forward(x)
                                                   : Tensor();
    const Tensor gate = whole ? both.chunk(2, -1)[0] : gate_proj_->forward(x);
    const Tensor up = whole ? both.chunk(2, -1)[1] : up_proj_->forward(x);
    product = activation_ == Activation::kSilu ? ops::silu_product(gate, up)
                                               : activate(gate, activation_) * up;
  }
  return down_proj_->forward(product, {.residual = residual});
}

void GatedMLP::prepare_for_pages() {
  if (!joined_ && gate_proj_ != nullptr) {
    joined_ = Linear::join({gate_proj_, up_proj_});
  }
}

}  // namespace tessera::nn
