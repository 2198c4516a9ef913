// LlamaForCausalLM: Llama 1–3 and everything saved in that layout. Paper arXiv 2302.13971;
// reference huggingface/transformers models/llama. Activations [B, T, D]; on the CPU always fp32.
// Differences from the reference: none; `pretraining_tp` is ignored (it only changes summation
// order).
#include "core/error.h"
#include "io/json.h"
#include "models/config.h"
#include "models/registry.h"
#include "nn/attention.h"
#include "nn/generate.h"

#include <ATen/ops/arange.h>

namespace tessera::models {
namespace {

using at::Tensor;

struct LlamaConfig {
  int64_t vocab = 32000;         // vocab_size
  int64_t hidden = 4096;         // hidden_size
  int64_t inner = 11008;         // intermediate_size
  int64_t layers = 32;           // num_hidden_layers
  int64_t heads = 32;            // num_attention_heads
  int64_t kv_heads = 32;         // num_key_value_heads
  int64_t head_dim = 128;        // head_dim
  int64_t max_positions = 2048;  // max_position_embeddings
  double epsilon = 1e-6;         // rms_norm_eps
  double init_std = 0.02;        // initializer_range
  bool attention_bias = false;
  bool mlp_bias = false;
  bool tied = false;  // tie_word_embeddings
  nn::RopeConfig rope;

  static LlamaConfig from_json(const io::Json& json) {
    LlamaConfig c;
    const ConfigReader read(json, "config.json");
    c.vocab = read.positive("vocab_size", c.vocab);
    c.hidden = read.positive("hidden_size", c.hidden);
    c.inner = read.positive("intermediate_size", c.inner);
    c.layers = read.positive("num_hidden_layers", c.layers);
    c.heads = read.positive("num_attention_heads", c.heads);
    c.kv_heads = read.positive("num_key_value_heads", c.heads);
    TESSERA_CHECK(
        c.heads % c.kv_heads == 0, CorruptFile,
        "config.json: num_attention_heads {} must be a multiple of num_key_value_heads {}", c.heads,
        c.kv_heads);
    c.head_dim = read.positive("head_dim", c.hidden / c.heads);
    c.max_positions = read.positive("max_position_embeddings", c.max_positions);
    c.epsilon = read.number("rms_norm_eps", c.epsilon);
    c.init_std = read.number("initializer_range", c.init_std);
    c.attention_bias = read.boolean("attention_bias", false);
    c.mlp_bias = read.boolean("mlp_bias", false);
    c.tied = read.boolean("tie_word_embeddings", false);
    const std::string activation = read.string("hidden_act", "silu");
    TESSERA_CHECK(activation == "silu", Unsupported,
                  "config.json: hidden_act '{}' is not known, expected silu", activation);
    c.rope = nn::RopeConfig::from_json(json);
    return c;
  }
};

class LlamaLayer : public nn::Module {
 public:
  LlamaLayer(const nn::Weights& w, const LlamaConfig& c, const nn::Rope& rope, int64_t index)
      : Module(w) {
    // Residual outputs start smaller with depth, so that activations keep their size (GPT-2).
    const double output_std = c.init_std / std::sqrt(2.0 * static_cast<double>(c.layers));
    const nn::AttentionOptions attention{.hidden = c.hidden,
                                         .heads = c.heads,
                                         .kv_heads = c.kv_heads,
                                         .head_dim = c.head_dim,
                                         .bias = c.attention_bias,
                                         .output_bias = c.attention_bias,
                                         .init_std = c.init_std,
                                         .output_init_std = output_std};
    input_layernorm_ = register_module(
        "input_layernorm",
        std::make_shared<nn::RMSNorm>(w.child("input_layernorm"), c.hidden, c.epsilon));
    self_attn_ = register_module("self_attn", std::make_shared<nn::SelfAttention>(
                                                  w.child("self_attn"), attention, rope, index));
    post_attention_layernorm_ = register_module(
        "post_attention_layernorm",
        std::make_shared<nn::RMSNorm>(w.child("post_attention_layernorm"), c.hidden, c.epsilon));
    mlp_ =
        register_module("mlp", std::make_shared<nn::GatedMLP>(w.child("mlp"), c.hidden, c.inner,
                                                              c.mlp_bias, c.init_std, output_std));
  }

  Tensor forward(const Tensor& x, const nn::StepContext& context) const {
    const Tensor h = x + self_attn_->forward(input_layernorm_->forward(x), context);
    return nn::tap(*this, h + mlp_->forward(post_attention_layernorm_->forward(h)));
  }

 private:
  std::shared_ptr<nn::RMSNorm> input_layernorm_, post_attention_layernorm_;
  std::shared_ptr<nn::SelfAttention> self_attn_;
  std::shared_ptr<nn::GatedMLP> mlp_;
};

// The part under the name "model": embeddings, layers, final norm.
class LlamaBody : public nn::Module {
 public:
  LlamaBody(const nn::Weights& w, const LlamaConfig& c)
      : Module(w), rope_(c.rope, c.head_dim, w.options().device) {
    embed_tokens_ = register_module(
        "embed_tokens", std::make_shared<nn::Embedding>(w.child("embed_tokens"), c.vocab, c.hidden,
                                                        nn::Init::normal(c.init_std)));
    const auto list = register_module("layers", std::make_shared<torch::nn::Module>("layers"));
    for (int64_t i = 0; i < c.layers; ++i) {
      layers_.push_back(list->register_module(
          std::to_string(i),
          std::make_shared<LlamaLayer>(w.child("layers").child(i), c, rope_, i)));
    }
    norm_ = register_module("norm",
                            std::make_shared<nn::RMSNorm>(w.child("norm"), c.hidden, c.epsilon));
  }

  Tensor forward(const nn::Step& step, nn::KVCache* cache) const {
    const int64_t batch = step.ids.size(0);
    const int64_t tokens = step.ids.size(1);
    const int64_t past = cache != nullptr ? cache->length() : 0;
    Tensor h = embed_tokens_->forward(step.ids);
    const Tensor positions = step.positions.defined()
                                 ? step.positions
                                 : at::arange(past, past + tokens, step.ids.options()).unsqueeze(0);
    nn::StepContext context{
        .rope = rope_.tables(positions, h.scalar_type()),
        .mask = nn::attention_mask(step.key_mask, batch, past, tokens, step.ids.device()),
        .cache = cache,
        .cu_seqlens = step.cu_seqlens,
        .max_length = step.max_document};
    for (const auto& layer : layers_) {
      h = layer->forward(h, context);
    }
    if (cache != nullptr) {
      cache->advance(tokens);
    }
    if (step.last_only) {
      h = h.narrow(1, tokens - 1, 1);
    }
    return nn::tap(*this, norm_->forward(h));
  }

  const Tensor& embedding() const { return embed_tokens_->weight(); }

 private:
  nn::Rope rope_;
  std::shared_ptr<nn::Embedding> embed_tokens_;
  std::vector<std::shared_ptr<LlamaLayer>> layers_;
  std::shared_ptr<nn::RMSNorm> norm_;
};

class Llama : public nn::SequenceModel {
 public:
  Llama(const nn::Weights& w, const LlamaConfig& config, const ModelFolder& folder)
      : SequenceModel(w), config_(config), folder_(folder) {
    model_ = register_module("model", std::make_shared<LlamaBody>(w.child("model"), config));
    if (config.tied) {
      // A stored copy of the head is ignored, as the reference does when it ties.
      w.ignore("^lm_head\\.weight$");
      lm_head_ = std::make_shared<nn::Linear>(w.child("lm_head"), model_->embedding());
    } else {
      lm_head_ = std::make_shared<nn::Linear>(
          w.child("lm_head"), config.hidden, config.vocab,
          nn::LinearOptions{.bias = false, .init = nn::Init::normal(config.init_std)});
      register_module("lm_head", lm_head_);
    }
  }

  Tensor step(const nn::Step& step, nn::Cache* cache) override {
    TESSERA_CHECK(step.ids.numel() == 0 || (step.ids.min().item<int64_t>() >= 0 &&
                                            step.ids.max().item<int64_t>() < config_.vocab),
                  InvalidArgument, "input_ids must be in 0 … {}, got {} … {}", config_.vocab - 1,
                  step.ids.min().item<int64_t>(), step.ids.max().item<int64_t>());
    return lm_head_->forward(hidden(step, cache)).to(at::kFloat);
  }

  Tensor hidden(const nn::Step& step, nn::Cache* cache) override {
    return model_->forward(step, static_cast<nn::KVCache*>(cache));
  }
  const Tensor& head() const override { return lm_head_->weight(); }

  std::unique_ptr<nn::Cache> make_cache() const override {
    return std::make_unique<nn::KVCache>(config_.layers);
  }
  int64_t vocab_size() const override { return config_.vocab; }
  int64_t max_positions() const override { return config_.max_positions; }

  nn::NamedTensors run(std::string_view entry, const nn::NamedTensors& inputs) override {
    return run_language_model_entry(*this, folder_, entry, inputs);
  }

 private:
  LlamaConfig config_;
  ModelFolder folder_;
  std::shared_ptr<LlamaBody> model_;
  std::shared_ptr<nn::Linear> lm_head_;
};

}  // namespace

std::shared_ptr<nn::Model> load_llama(const ModelFolder& folder, const nn::Weights& weights) {
  weights.ignore("\\.rotary_emb\\.inv_freq$");  // a buffer that old files hold
  return std::make_shared<Llama>(weights, LlamaConfig::from_json(folder.config), folder);
}

}  // namespace tessera::models
