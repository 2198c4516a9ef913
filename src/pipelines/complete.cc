#include "pipelines/complete.h"

#include "core/error.h"

#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>

namespace tessera::pipelines {

TextCompleter::TextCompleter(std::string_view model, const nn::LoadOptions& load)
    : folder_(models::open_folder(model)), tokenizer_(text::load_tokenizer(folder_.path)) {
  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder_, load));
  TESSERA_CHECK(model_ != nullptr, Unsupported, "{}: this model does not generate text",
                folder_.path.string());
}

nn::GenerationOptions TextCompleter::defaults() const {
  return nn::GenerationOptions::from_configs(folder_.config, folder_.generation_config, true);
}

Completion TextCompleter::complete(std::string_view prompt,
                                   nn::GenerationOptions options,
                                   const TextCallback& on_text) {
  return complete(tokenizer_->encode(prompt), std::move(options), on_text);
}

Completion TextCompleter::complete(std::vector<int32_t> prompt,
                                   nn::GenerationOptions options,
                                   const TextCallback& on_text,
                                   const std::function<bool()>& go_on) {
  const std::vector<int64_t> ids(prompt.begin(), prompt.end());
  for (const int64_t id : ids) {
    TESSERA_CHECK(id >= 0 && id < model_->vocab_size(), InvalidArgument,
                  "the prompt has the id {}, the model {} ids", id, model_->vocab_size());
  }
  TESSERA_CHECK(!ids.empty(), InvalidArgument, "the prompt is empty; give some text");
  const int64_t context = model_->max_positions();
  const auto length = static_cast<int64_t>(ids.size());
  TESSERA_CHECK(context == 0 || length < context, InvalidArgument,
                "the prompt has {} tokens, the model's context is {}; shorten the prompt", length,
                context);
  Completion result;
  result.prompt_tokens = length;
  const bool cut = context > 0 && options.max_new_tokens > context - length;
  if (cut) {
    options.max_new_tokens = context - length;
  }
  text::StreamDecoder decoder(*tokenizer_, prompt, /*skip_special=*/true);
  const auto start = std::chrono::steady_clock::now();
  auto first = start;
  const auto on_token = [&](int64_t, int64_t id) {
    if (result.ids.empty()) {
      first = std::chrono::steady_clock::now();
    }
    result.ids.push_back(id);
    const std::string piece = decoder.push(static_cast<int32_t>(id));
    result.text += piece;
    const bool wanted = piece.empty() || !on_text || on_text(piece);
    return (!go_on || go_on()) && wanted;
  };
  const c10::InferenceMode inference;
  nn::generate(*model_, at::tensor(ids, at::kLong).unsqueeze(0).to(model_->device()), {}, options,
               on_token);
  const auto end = std::chrono::steady_clock::now();
  if (const std::string rest = decoder.finish(); !rest.empty()) {
    result.text += rest;
    if (on_text) {
      on_text(rest);
    }
  }
  const bool ended = !result.ids.empty() &&
                     std::find(options.end_ids.begin(), options.end_ids.end(), result.ids.back()) !=
                         options.end_ids.end();
  result.reason = ended ? "stop" : (cut ? "context" : "length");
  result.prefill_seconds = std::chrono::duration<double>(first - start).count();
  result.decode_seconds = std::chrono::duration<double>(end - first).count();
  return result;
}

}  // namespace tessera::pipelines
