// Gemma2ForCausalLM (arXiv 2408.00118): scaled embeddings, norms before and behind attention and
// MLP that multiply by 1 + weight, GELU, capped scores and logits, a sliding window in every other
// layer. Reference huggingface/transformers models/gemma2 with eager attention (the only one that
// caps). Differences from the reference: none; bidirectional attention is refused.
#include "core/error.h"
#include "models/decoder.h"

#include <cmath>

namespace tessera::models {

std::shared_ptr<nn::Model> load_gemma2(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  TESSERA_CHECK(!read.boolean("use_bidirectional_attention", false), Unsupported,
                "config.json: use_bidirectional_attention is not known here");
  nn::DecoderOptions options =
      read_decoder(folder.config,
                   {.vocab = 256000,
                    .layers = 26,
                    .max_positions = 8192,
                    .attention = {.hidden = 2304, .heads = 8, .kv_heads = 4, .head_dim = 256},
                    .mlp = {.inner = 9216, .activation = nn::Activation::kGeluTanh},
                    .tied = true,
                    .unit_offset = true,
                    .post_norms = true,
                    .names = {.mlp_norm = "pre_feedforward_layernorm"}},
                   "hidden_activation");
  nn::AttentionOptions& attention = options.attention;
  attention.bias = attention.output_bias = read.boolean("attention_bias", false);
  const double scalar = read.number("query_pre_attn_scalar", 256);
  TESSERA_CHECK(scalar > 0, CorruptFile,
                "config.json: query_pre_attn_scalar must be positive, found {}", scalar);
  attention.scores = {.scale = 1.0 / std::sqrt(scalar),
                      .cap = read.number_or_null("attn_logit_softcapping", 50),
                      .window = read.positive_or_null("sliding_window", 4096)};
  options.logit_cap = read.number_or_null("final_logit_softcapping", 30);
  options.slides = read_sliding_layers(folder.config, options.layers, 0);
  if (!folder.config.contains("layer_types")) {
    for (size_t i = 1; i < options.slides.size(); i += 2) {
      options.slides[i] = false;
    }
  }
  options.embedding_scale = std::sqrt(static_cast<double>(attention.hidden));
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
