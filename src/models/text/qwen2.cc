// Qwen2ForCausalLM: Qwen 2 and 2.5 (arXiv 2407.10671, 2412.15115). Llama with biases on q, k, v and
// a sliding window in the upper layers where the file asks for one. Reference
// huggingface/transformers models/qwen2. Differences from the reference: none.
#include "models/decoder.h"

namespace tessera::models {

std::shared_ptr<nn::Model> load_qwen2(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options =
      read_decoder(folder.config, {.vocab = 151936,
                                   .max_positions = 32768,
                                   .attention = {.hidden = 4096, .heads = 32, .kv_heads = 32},
                                   .mlp = {.inner = 22016}});
  options.attention.bias = true;
  if (read.boolean("use_sliding_window", false)) {
    options.attention.scores.window = read.positive_or_null("sliding_window", 4096);
    options.slides =
        read_sliding_layers(folder.config, options.layers, read.count("max_window_layers", 28));
  }
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
