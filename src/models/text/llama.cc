// LlamaForCausalLM: Llama 1–3 and everything saved in that layout. Paper arXiv 2302.13971;
// reference huggingface/transformers models/llama. Differences from the reference: none.
#include "models/decoder.h"

namespace tessera::models {

std::shared_ptr<nn::Model> load_llama(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options = read_decoder(
      folder.config, {.attention = {.hidden = 4096, .heads = 32}, .mlp = {.inner = 11008}});
  options.attention.bias = options.attention.output_bias = read.boolean("attention_bias", false);
  options.mlp.bias = read.boolean("mlp_bias", false);
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
