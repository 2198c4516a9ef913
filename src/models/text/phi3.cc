// Phi3ForCausalLM: Phi-3, 3.5 and Phi-4-mini (arXiv 2404.14219). Llama with q, k, v in one tensor
// and gate and up in another, LongRoPE, partial rotation, an optional sliding window over all
// layers. Reference huggingface/transformers models/phi3. Differences from the reference: none.
#include "models/decoder.h"

namespace tessera::models {
namespace {

// Phi-3's own readings of the rotary keys: "su" and "yarn" are old names of longrope, and the
// training length is 4,096 where the file does not say.
io::Json standard_config(const io::Json& config) {
  io::Json result = config;
  if (!result.contains("original_max_position_embeddings")) {
    result["original_max_position_embeddings"] = 4096;
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!result.contains(key) || !result[key].is_object()) {
      continue;
    }
    for (const char* name : {"rope_type", "type"}) {
      io::Json& scaling = result[key];
      if (scaling.contains(name) && (scaling[name] == "su" || scaling[name] == "yarn")) {
        scaling[name] = "longrope";
      }
    }
  }
  return result;
}

}  // namespace

std::shared_ptr<nn::Model> load_phi3(const ModelFolder& folder, const nn::Weights& weights) {
  const ConfigReader read(folder.config, "config.json");
  nn::DecoderOptions options =
      read_decoder(standard_config(folder.config),
                   {.vocab = 32064,
                    .max_positions = 4096,
                    .epsilon = 1e-5,
                    .attention = {.hidden = 3072, .heads = 32, .layout = nn::QkvLayout::kStacked},
                    .mlp = {.inner = 8192, .fused = true}});
  options.attention.scores.window = read.positive_or_null("sliding_window", 0);
  if (options.rope.type == "longrope") {
    options.restart_length = static_cast<int64_t>(options.rope.original_max_position);
  }
  return make_decoder(folder, weights, options);
}

}  // namespace tessera::models
