// A random Llama of 61 tokens and a grammar of spans over them, for tests of generation.
#pragma once

#include "nn/generate.h"
#include "unit/models/bundled.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

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

// Pictures of 5 codes, guided unless told otherwise; sound of 2 levels and 1 to 4 frames, guided
// too when asked.
inline SpanGrammar grammar(double sound_guidance = 1.0, double picture_guidance = 2.5) {
  SpanGrammar result;
  result.rules = {{.name = "image",
                   .start_id = 38,
                   .end_id = 39,
                   .first_code = 30,
                   .codebook_size = 8,
                   .min_frames = 5,
                   .max_frames = 5,
                   .sampling = {.greedy = false, .temperature = 0.9, .top_k = 6},
                   .guidance = picture_guidance,
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

// The last logits of a whole sequence without any cache.
inline std::vector<float> logits_after(SequenceModel& model, const Ids& ids) {
  const Step step{.ids = at::tensor(ids, at::kLong).unsqueeze(0), .positions = {}, .key_mask = {}};
  const Tensor last = model.step(step, nullptr).select(1, -1).contiguous();
  return {last.const_data_ptr<float>(), last.const_data_ptr<float>() + last.numel()};
}

// The same generation, told plainly: no cache, no batch, the unconditional sequence written out.
inline Ids plainly(SequenceModel& model,
                   const Ids& prompt,
                   const GenerationOptions& options,
                   uint64_t stream = 0) {
  const c10::InferenceMode inference;
  static const SpanGrammar kNone;
  Rng rng(options.seed, stream);
  SpanState state(options.spans == nullptr ? kNone : *options.spans, options.end_ids,
                  options.max_new_tokens);
  Ids all = prompt;
  Ids output;
  Ids span;  // markers included
  while (static_cast<int64_t>(output.size()) < options.max_new_tokens) {
    std::vector<float> logits = logits_after(model, all);
    const bool inside = state.open() >= 0;
    const SpanRule* rule =
        inside ? &options.spans->rules[static_cast<size_t>(state.open())] : nullptr;
    if (inside && rule->guidance != 1.0) {
      Ids free = options.guidance_prompt;
      free.insert(free.end(), span.begin(), span.end());
      const std::vector<float> u = logits_after(model, free);
      for (size_t i = 0; i < u.size(); ++i) {
        logits[i] = u[i] + static_cast<float>(rule->guidance) * (logits[i] - u[i]);
      }
    }
    state.constrain(logits);
    const SamplingParams& sampling = inside ? rule->sampling : options.sampling;
    const Ids codes = inside ? Ids(span.begin() + 1, span.end()) : Ids();
    process_logits(logits, sampling, {.history = inside ? codes : all});
    const int64_t id = pick(logits, sampling, rng);
    state.accept(id);
    if (state.open() >= 0) {
      span.push_back(id);
    } else {
      span.clear();
    }
    all.push_back(id);
    output.push_back(id);
    if (id == 1) {
      break;
    }
  }
  return output;
}

}  // namespace tessera::nn
