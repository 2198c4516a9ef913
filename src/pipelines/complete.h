// Text in, text out: a prompt is continued by a language model, streamed as it comes.
#pragma once

#include "models/registry.h"
#include "nn/beam.h"
#include "nn/speculative.h"
#include "pipelines/constrain.h"
#include "text/tokenizer.h"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tessera::pipelines {

using at::Tensor;

struct Completion {
  std::string text;
  std::vector<int64_t> ids;  // generated ids, end token included
  int64_t prompt_tokens = 0;
  /// "stop" (end token, stop string or finished constraint), "length" (token limit), "context"
  /// (model's limit)
  std::string reason;
  std::vector<nn::TokenLogprobs> logprobs;  // of each id, when asked for
  std::optional<double> score;              // of a beam search
  std::optional<nn::SpeculativeStats> speculation;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// What goes beside nn::GenerationOptions.
struct CompletionOptions {
  std::vector<std::string> stop = {};        // text ends before the first of these
  std::optional<int64_t> top_logprobs = {};  // log-probabilities, with so many alternatives each
  std::optional<nn::SpeculativeOptions> speculation = {};  // of one prompt at a time
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
  /// For GenerationOptions::constraint, of any number of prompts. Throws as parse_constraint does.
  nn::ConstraintFactory constraint(const ConstraintSpec& spec) const;
  /// Opens a model for SpeculativeOptions::draft. Throws InvalidArgument when its tokens are
  /// others.
  std::shared_ptr<nn::SequenceModel> load_draft(std::string_view model,
                                                const nn::LoadOptions& load) const;
  /// Throws InvalidArgument when the prompt is empty of tokens or longer than the context.
  Completion complete(std::string_view prompt,
                      nn::GenerationOptions options,
                      const TextCallback& on_text = {},
                      const CompletionOptions& extra = {});
  /// The same for ids, which must be of the vocabulary. `go_on` is asked after every token; false
  /// stops the generation.
  Completion complete(std::vector<int32_t> prompt,
                      nn::GenerationOptions options,
                      const TextCallback& on_text,
                      const std::function<bool()>& go_on,
                      const CompletionOptions& extra = {});
  /// Many prompts, up to `batch` of them at a time through one engine; each gets what it would get
  /// alone. `done` is called with a prompt's place as soon as it is through. Throws as above,
  /// before anything runs, and Unsupported for models that cannot run many sequences at once. A
  /// prompt whose constraint cannot be followed gets no result; its error is thrown when the others
  /// are through.
  void complete_all(std::span<const std::string> prompts,
                    const nn::GenerationOptions& options,
                    const CompletionOptions& extra,
                    int64_t batch,
                    const std::function<void(size_t place, Completion)>& done);
  /// Beam search; the best continuation first. Stop strings cut what was found. Throws as above.
  std::vector<Completion> search(std::string_view prompt,
                                 nn::GenerationOptions options,
                                 const nn::BeamOptions& beams,
                                 const CompletionOptions& extra = {});

  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Longest sequence in tokens; 0 = no limit.
  int64_t context() const { return model_->max_positions(); }

 private:
  struct Prompt {
    std::vector<int32_t> encoded;
    Tensor ids;  // i64 [1, T] on the model's device
    bool cut;    // the context leaves less room than was asked for
  };
  Prompt prepare(std::vector<int32_t> prompt, nn::GenerationOptions& options) const;

  models::ModelFolder folder_;
  std::shared_ptr<nn::SequenceModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace tessera::pipelines
