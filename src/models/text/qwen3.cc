// Qwen3ForCausalLM, dense (arXiv 2505.09388): norms on the heads of q and k before the rotation, a
// head width of its own. Reference huggingface/transformers models/qwen3. Differences from the
// reference: none.
#include "models/decoder.h"

namespace tessera::models {

std::shared_ptr<nn::Model> load_qwen3(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options = read_decoder(
      folder.config, {.vocab = 151936,
                      .max_positions = 32768,
                      .attention = {.hidden = 4096, .heads = 32, .kv_heads = 32, .head_dim = 128},
                      .mlp = {.inner = 22016}});
  options.attention.bias = options.attention.output_bias = read.boolean("attention_bias", false);
  options.attention.head_norm_epsilon = options.epsilon;
  if (read.boolean("use_sliding_window", false)) {
    options.attention.scores.window = read.positive_or_null("sliding_window", 4096);
    options.slides =
        read_sliding_layers(folder.config, options.layers, read.count("max_window_layers", 28));
  }
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
