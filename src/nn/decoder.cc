// Reference: huggingface/transformers models/llama and the families that are written as changes of
// it. Activations [B, T, D]; on the CPU always fp32. `pretraining_tp` is ignored (it only changes
// summation order).
#include "nn/decoder.h"

#include "core/error.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tanh.h>

#include <algorithm>

namespace tessera::nn {

DecoderLayer::DecoderLayer(const Weights& w, const DecoderOptions& o, const Rope& rope, int64_t i)
    : Module(w) {
  const auto norm = [&](const std::string& name) {
    return register_module(name, std::make_shared<RMSNorm>(w.child(name), o.attention.hidden,
                                                           o.epsilon, o.unit_offset));
  };
  AttentionOptions attention = o.attention;
  if (!o.slides.empty() && !o.slides[static_cast<size_t>(i)]) {
    attention.scores.window = 0;
  }
  const DecoderNames& names = o.names;
  input_norm_ = norm(names.input_norm);
  attention_ = register_module(names.attention, std::make_shared<SelfAttention>(
                                                    w.child(names.attention), attention, rope, i));
  if (o.post_norms) {
    attention_output_norm_ = norm(names.attention_output_norm);
  }
  mlp_norm_ = norm(names.mlp_norm);
  mlp_ = register_module(names.mlp, std::make_shared<GatedMLP>(w.child(names.mlp), o.mlp));
  if (o.post_norms) {
    mlp_output_norm_ = norm(names.mlp_output_norm);
  }
}

Tensor DecoderLayer::forward(const Tensor& x, const StepContext& context) const {
  Tensor attended = attention_->forward(input_norm_->forward(x), context);
  if (attention_output_norm_ != nullptr) {
    attended = attention_output_norm_->forward(attended);
  }
  const Tensor h = x + attended;
  Tensor fed = mlp_->forward(mlp_norm_->forward(h));
  if (mlp_output_norm_ != nullptr) {
    fed = mlp_output_norm_->forward(fed);
  }
  return tap(*this, h + fed);
}

Tensor DecoderLayer::forward_gpu(const Tensor& x, const StepContext& context) const {
  const bool post = attention_output_norm_ != nullptr;  // then nothing can be added before it
  Tensor h = attention_->forward_gpu(input_norm_->forward(x), context, post ? Tensor() : x);
  if (post) {
    h = attention_output_norm_->forward(h).add_(x);
  }
  Tensor fed = mlp_->forward_gpu(mlp_norm_->forward(h), post ? Tensor() : h);
  return post ? mlp_output_norm_->forward(fed).add_(h) : fed;
}

void DecoderLayer::prepare_for_pages() {
  attention_->prepare_for_pages();
  mlp_->prepare_for_pages();
}

DecoderBody::DecoderBody(const Weights& w, const DecoderOptions& o)
    : Module(w),
      rope_(o.rope, o.attention.head_dim, w.options().device),
      scores_(o.attention.scores),
      window_(o.attention.scores.window),
      all_slide_(window_ > 0 &&
                 std::find(o.slides.begin(), o.slides.end(), false) == o.slides.end()),
      embedding_scale_(o.embedding_scale) {
  TESSERA_CHECK(o.slides.empty() || static_cast<int64_t>(o.slides.size()) == o.layers,
                InvalidArgument, "decoder: {} layer types for {} layers", o.slides.size(),
                o.layers);
  embedding_ = register_module(
      o.names.embedding,
      std::make_shared<Embedding>(w.child(o.names.embedding), o.vocab, o.attention.hidden,
                                  Init::normal(o.attention.init_std)));
  const auto list = register_module("layers", std::make_shared<torch::nn::Module>("layers"));
  for (int64_t i = 0; i < o.layers; ++i) {
    layers_.push_back(list->register_module(
        std::to_string(i),
        std::make_shared<DecoderLayer>(w.child("layers").child(i), o, rope_, i)));
  }
  norm_ = register_module("norm", std::make_shared<RMSNorm>(w.child("norm"), o.attention.hidden,
                                                            o.epsilon, o.unit_offset));
}

StepContext DecoderBody::context(const Step& step, KVCache* cache, at::ScalarType dtype) const {
  const int64_t batch = step.ids.size(0);
  const int64_t tokens = step.ids.size(1);
  const int64_t past = cache != nullptr ? cache->length() : 0;
  const at::Device device = step.ids.device();
  if (step.pages != nullptr && step.batch.device.tables.defined() &&
      ops::has_paged_rotary_attention(step.pages->keys(0), scores_)) {
    StepContext context;
    context.rotary = rope_.table();
    context.pages = step.pages;
    context.batch = &step.batch;
    return context;
  }
  const Tensor positions = step.positions.defined()
                               ? step.positions
                               : at::arange(past, past + tokens, step.ids.options()).unsqueeze(0);
  StepContext context{.rope = rope_.tables(positions, dtype),
                      .mask = {},
                      .cache = cache,
                      .cu_seqlens = step.cu_seqlens,
                      .max_length = step.max_document,
                      .pages = step.pages,
                      .batch = &step.batch};
  if (step.cu_seqlens.defined() || step.pages != nullptr) {
    return context;
  }
  if (!all_slide_) {
    context.mask = attention_mask(step.key_mask, batch, past, tokens, device);
  }
  if (window_ > 0) {
    context.window_mask = attention_mask(step.key_mask, batch, past, tokens, device, window_);
  }
  return context;
}

Tensor DecoderBody::forward(const Step& step, KVCache* cache) const {
  const int64_t tokens = step.ids.size(1);
  Tensor h = embedding_->forward(step.ids);
  if (embedding_scale_ != 1.0) {
    // The reference keeps the scale in the table's dtype; blocks stand for fp32.
    const at::ScalarType table = embedding_->weight().scalar_type();
    h = h * at::scalar_tensor(embedding_scale_,
                              h.options().dtype(at::isFloatingType(table) ? table : at::kFloat))
                .to(h.scalar_type());
  }
  const StepContext context = this->context(step, cache, h.scalar_type());
  for (const auto& layer : layers_) {
    h = context.rotary.frequencies.defined() ? layer->forward_gpu(h, context)
                                             : layer->forward(h, context);
  }
  if (cache != nullptr) {
    cache->advance(tokens);
  }
  if (step.rows.defined()) {
    h = h.index_select(1, step.rows);
  } else if (step.last_only) {
    h = h.narrow(1, tokens - 1, 1);
  }
  return tap(*this, norm_->forward(h));
}

void DecoderBody::prepare_for_pages() {
  for (const auto& layer : layers_) {
    layer->prepare_for_pages();
  }
}

DecoderModel::DecoderModel(const Weights& w, const DecoderOptions& options)
    : SequenceModel(w), options_(options) {
  w.ignore("\\.rotary_emb\\.inv_freq$");  // a buffer that old files hold
  body_ = register_module("model", std::make_shared<DecoderBody>(w.child("model"), options));
  const std::string& name = options.names.head;
  if (options.tied) {
    // A stored copy of the head is ignored, as the reference does when it ties.
    w.ignore("^" + name + "\\.weight$");
    head_ = std::make_shared<Linear>(w.child(name), body_->embedding());
    return;
  }
  const LinearOptions linear{.bias = false, .init = Init::normal(options.attention.init_std)};
  head_ = std::make_shared<Linear>(w.child(name), options.attention.hidden, options.vocab, linear);
  register_module(name, head_);
}

Tensor DecoderModel::step(const Step& step, Cache* cache) {
  // Steps over pages come from an engine, which has checked the ids; a look would wait for a GPU.
  TESSERA_CHECK(
      step.ids.numel() == 0 || step.pages != nullptr ||
          (step.ids.min().item<int64_t>() >= 0 && step.ids.max().item<int64_t>() < options_.vocab),
      InvalidArgument, "input_ids must be in 0 … {}, got {} … {}", options_.vocab - 1,
      step.ids.min().item<int64_t>(), step.ids.max().item<int64_t>());
  const Tensor states = hidden(step, cache);
  Tensor logits = step.pages != nullptr && states.is_cuda() ? head_->forward(states, {.wide = true})
                                                            : head_->forward(states);
  if (options_.logit_cap > 0) {
    logits = at::tanh(logits / options_.logit_cap) * options_.logit_cap;
  }
  return logits.to(at::kFloat);
}

Tensor DecoderModel::hidden(const Step& step, Cache* cache) {
  return body_->forward(step, static_cast<KVCache*>(cache));
}

std::unique_ptr<PagedCache> DecoderModel::make_paged_cache(int64_t pages,
                                                           at::ScalarType dtype) const {
  TESSERA_CHECK(!options_.rope.depends_on_length(), Unsupported,
                "rotary positions of the type '{}' depend on the length of a sequence; this model "
                "runs alone",
                options_.rope.type);
  return std::make_unique<PagedCache>(PagedCacheOptions{.layers = options_.layers,
                                                        .kv_heads = options_.attention.kv_heads,
                                                        .head_dim = options_.attention.head_dim,
                                                        .pages = pages,
                                                        .dtype = dtype,
                                                        .device = device()});
}

at::ScalarType DecoderModel::state_dtype() const {
  return device().is_cpu() ? at::kFloat : body_->embedding().weight().scalar_type();
}

bool DecoderModel::steps_without_host(PagedCache& cache) const {
  return ops::has_paged_rotary_attention(cache.keys(0), options_.attention.scores);
}

void DecoderModel::prepare_for_pages() {
  if (!device().is_cpu()) {
    body_->prepare_for_pages();
  }
}

std::unique_ptr<Cache> DecoderModel::make_cache() const {
  return std::make_unique<KVCache>(options_.layers);
}

}  // namespace tessera::nn
