// MistralForCausalLM: Llama without biases, a sliding window over all layers (arXiv 2310.06825).
// Reference huggingface/transformers models/mistral. Differences from the reference: none.
#include "models/decoder.h"

namespace tessera::models {

std::shared_ptr<nn::Model> load_mistral(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options =
      read_decoder(folder.config, {.max_positions = 131072,
                                   .attention = {.hidden = 4096, .heads = 32, .kv_heads = 8},
                                   .mlp = {.inner = 14336}});
  options.attention.scores.window = read.positive_or_null("sliding_window", 4096);
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
