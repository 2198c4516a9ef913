// A random Llama of 61 tokens and a grammar of spans over them, for tests of generation.
#pragma once

#include "nn/generate.h"
#include "unit/models/bundled.h"

#include <ATen/Parallel.h>

#include <memory>
#include <vector>

namespace tessera::nn {

using Ids = std::vector<int64_t>;

inline constexpr int64_t kVocabulary = 61;

inline std::shared_ptr<SequenceModel> tiny_model() {
  at::set_num_threads(1);
  return std::dynamic_pointer_cast<SequenceModel>(
      bundled_model("LlamaForCausalLM", {{"vocab_size", kVocabulary},
                                         {"hidden_size", 32},
                                         {"intermediate_size", 48},
                                         {"num_hidden_layers", 2},
                                         {"num_attention_heads", 4},
                                         {"num_key_value_heads", 2},
                                         {"max_position_embeddings", 256},
                                         {"initializer_range", 0.4}}));
}

// Pictures of 5 codes, guided; sound of 2 levels and 1 to 4 frames, guided too when asked.
inline SpanGrammar grammar(double sound_guidance = 1.0) {
  SpanGrammar result;
  result.rules = {{.name = "image",
                   .start_id = 38,
                   .end_id = 39,
                   .first_code = 30,
                   .codebook_size = 8,
                   .min_frames = 5,
                   .max_frames = 5,
                   .sampling = {.greedy = false, .temperature = 0.9, .top_k = 6},
                   .guidance = 2.5,
                   .least = 2},
                  {.name = "music",
                   .start_id = 60,
                   .end_id = 59,
                   .first_code = 40,
                   .levels = 2,
                   .codebook_size = 8,
                   .min_frames = 1,
                   .max_frames = 4,
                   .sampling = {.greedy = false, .top_p = 0.9, .repetition_penalty = 1.3},
                   .guidance = sound_guidance,
                   .least = 1}};
  result.forbidden = {3};
  return result;
}

inline GenerationOptions settings(const SpanGrammar* spans) {
  GenerationOptions options;
  options.sampling = {
      .greedy = false, .temperature = 1.2, .top_p = 0.95, .repetition_penalty = 1.1};
  options.max_new_tokens = 60;
  options.end_ids = {1};
  options.seed = 5;
  options.spans = spans;
  options.guidance_prompt = {4, 9, 2};
  return options;
}

}  // namespace tessera::nn
