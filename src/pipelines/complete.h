// Text in, text out: a prompt is continued by a language model, streamed as it comes.
#pragma once

#include "models/registry.h"
#include "nn/generate.h"
#include "text/tokenizer.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tessera::pipelines {

struct Completion {
  std::string text;
  std::vector<int64_t> ids;  // generated ids, end token included
  int64_t prompt_tokens = 0;
  std::string reason;  // "stop" (end token), "length" (token limit), "context" (model's limit)
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Called with each piece of text; false stops the generation.
using TextCallback = std::function<bool(std::string_view piece)>;

/// A loaded language model with its tokenizer.
class TextCompleter {
 public:
  /// Opens a folder or hub-cache name. Throws Unsupported when the model does not generate text.
  TextCompleter(std::string_view model, const nn::LoadOptions& load);

  /// The model's own defaults (generation_config.json).
  nn::GenerationOptions defaults() const;
  /// Throws InvalidArgument when the prompt is empty of tokens or longer than the context.
  Completion complete(std::string_view prompt,
                      nn::GenerationOptions options,
                      const TextCallback& on_text = {});
  /// The same for ids, which must be of the vocabulary. `go_on` is asked after every token; false
  /// stops the generation.
  Completion complete(std::vector<int32_t> prompt,
                      nn::GenerationOptions options,
                      const TextCallback& on_text = {},
                      const std::function<bool()>& go_on = {});

  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Longest sequence in tokens; 0 = no limit.
  int64_t context() const { return model_->max_positions(); }

 private:
  models::ModelFolder folder_;
  std::shared_ptr<nn::SequenceModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace tessera::pipelines
