#include "pipelines/complete.h"

#include "core/error.h"
#include "text/stop_strings.h"

#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <span>

namespace tessera::pipelines {
namespace {

bool is_end(int64_t id, const nn::GenerationOptions& options) {
  return std::find(options.end_ids.begin(), options.end_ids.end(), id) != options.end_ids.end();
}

std::string reason_of(const std::vector<int64_t>& ids,
                      const nn::GenerationOptions& options,
                      bool stopped,
                      bool cut) {
  if (stopped || (!ids.empty() && is_end(ids.back(), options))) {
    return "stop";
  }
  return cut ? "context" : "length";
}

}  // namespace

TextCompleter::TextCompleter(std::string_view model, const nn::LoadOptions& load)
    : folder_(models::open_folder(model)), tokenizer_(text::load_tokenizer(folder_.path)) {
  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder_, load));
  TESSERA_CHECK(model_ != nullptr, Unsupported, "{}: this model does not generate text",
                folder_.path.string());
}

nn::GenerationOptions TextCompleter::defaults() const {
  return nn::GenerationOptions::from_configs(folder_.config, folder_.generation_config, true);
}

TextCompleter::Prompt TextCompleter::prepare(std::string_view prompt,
                                             nn::GenerationOptions& options) const {
  Prompt result{.encoded = tokenizer_->encode(prompt), .ids = {}, .cut = false};
  const std::vector<int64_t> ids(result.encoded.begin(), result.encoded.end());
  TESSERA_CHECK(!ids.empty(), InvalidArgument, "the prompt is empty; give some text");
  const int64_t context = model_->max_positions();
  const auto length = static_cast<int64_t>(ids.size());
  TESSERA_CHECK(context == 0 || length < context, InvalidArgument,
                "the prompt has {} tokens, the model's context is {}; shorten the prompt", length,
                context);
  result.cut = context > 0 && options.max_new_tokens > context - length;
  if (result.cut) {
    options.max_new_tokens = context - length;
  }
  result.ids = at::tensor(ids, at::kLong).unsqueeze(0).to(model_->device());
  return result;
}

Completion TextCompleter::complete(std::string_view prompt,
                                   nn::GenerationOptions options,
                                   const TextCallback& on_text,
                                   const CompletionOptions& extra) {
  const Prompt input = prepare(prompt, options);
  Completion result;
  result.prompt_tokens = input.ids.size(1);
  text::StreamDecoder decoder(*tokenizer_, input.encoded, /*skip_special=*/true);
  text::StopStrings stop(extra.stop);
  const auto show = [&](const std::string& piece) {
    result.text += piece;
    return piece.empty() || !on_text || on_text(piece);
  };
  const auto start = std::chrono::steady_clock::now();
  auto first = start;
  const auto on_token = [&](int64_t, int64_t id) {
    if (result.ids.empty()) {
      first = std::chrono::steady_clock::now();
    }
    result.ids.push_back(id);
    return show(stop.push(decoder.push(static_cast<int32_t>(id)))) && !stop.stopped();
  };
  if (extra.top_logprobs.has_value()) {
    options.top_logprobs = *extra.top_logprobs;
    options.on_logprobs = [&](int64_t, const nn::TokenLogprobs& token) {
      result.logprobs.push_back(token);
    };
  }
  const c10::InferenceMode inference;
  nn::generate(*model_, input.ids, {}, options, on_token);
  const auto end = std::chrono::steady_clock::now();
  show(stop.push(decoder.finish()));
  show(stop.finish());
  result.reason = reason_of(result.ids, options, stop.stopped(), input.cut);
  result.prefill_seconds = std::chrono::duration<double>(first - start).count();
  result.decode_seconds = std::chrono::duration<double>(end - first).count();
  return result;
}

std::vector<Completion> TextCompleter::search(std::string_view prompt,
                                              nn::GenerationOptions options,
                                              const nn::BeamOptions& beams,
                                              const CompletionOptions& extra) {
  const Prompt input = prepare(prompt, options);
  const c10::InferenceMode inference;
  const auto start = std::chrono::steady_clock::now();
  const nn::BeamResult found = nn::beam_search(*model_, input.ids, {}, options, beams);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const Tensor outputs = found.sequences.cpu().narrow(1, input.ids.size(1),
                                                      found.sequences.size(1) - input.ids.size(1));
  std::vector<Completion> results;
  for (int64_t i = 0; i < outputs.size(0); ++i) {
    Completion result;
    result.prompt_tokens = input.ids.size(1);
    result.score = found.scores[static_cast<size_t>(i)];
    result.decode_seconds = time.count();
    text::StreamDecoder decoder(*tokenizer_, input.encoded, /*skip_special=*/true);
    text::StopStrings stop(extra.stop);
    const Tensor row = outputs[i].contiguous();
    for (const int64_t id :
         std::span(row.const_data_ptr<int64_t>(), static_cast<size_t>(row.numel()))) {
      result.ids.push_back(id);
      result.text += stop.push(decoder.push(static_cast<int32_t>(id)));
      if (stop.stopped() || is_end(id, options)) {  // what follows is filling
        break;
      }
    }
    result.text += stop.push(decoder.finish());
    result.text += stop.finish();
    result.reason = reason_of(result.ids, options, stop.stopped(), input.cut);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace tessera::pipelines
