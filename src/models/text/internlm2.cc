// InternLM2ForCausalLM: InternLM 2 and 2.5 (arXiv 2403.17297). Llama with q, k, v in one tensor,
// grouped by key/value head, and names of its own. Reference: the modeling code published with the
// weights (InternLM/InternLM). One difference: dynamic RoPE looks at the largest position of this
// step alone, where the reference keeps the longest length that its object has ever seen.
#include "models/decoder.h"

namespace tessera::models {

std::shared_ptr<nn::Model> load_internlm2(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options =
      read_decoder(folder.config,
                   {.vocab = 103168,
                    .attention = {.hidden = 4096,
                                  .heads = 32,
                                  .layout = nn::QkvLayout::kGrouped,
                                  .fused_name = "wqkv",
                                  .output_name = "wo"},
                    .mlp = {.inner = 11008, .gate_name = "w1", .up_name = "w3", .down_name = "w2"},
                    .names = {.embedding = "tok_embeddings",
                              .input_norm = "attention_norm",
                              .attention = "attention",
                              .mlp_norm = "ffn_norm",
                              .mlp = "feed_forward",
                              .head = "output"}});
  options.attention.bias = options.attention.output_bias = read.boolean("bias", true);
  options.rope.partial = 1.0;
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
