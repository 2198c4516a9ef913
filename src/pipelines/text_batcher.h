// Many prompts and conversations at once over one language model: what the server and `tessera
// converse` drive. Requests are stepped together by nn::Engine, which shares what they have in
// common; a model that it cannot run answers one request after the other.
#pragma once

#include "models/registry.h"
#include "pipelines/chat_format.h"
#include "pipelines/engine_plan.h"

#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tessera::pipelines {

struct TextResult {
  std::exception_ptr error;  // what on_text threw; then nothing else here counts
  std::string reason;        // "stop", "length" (token limit), "context", "interrupted"
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
  int64_t new_tokens = 0;     // end token included
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

struct TextRequest {
  std::vector<int32_t> prompt;
  nn::GenerationOptions options;    // max_new_tokens 0: as much as there is room for
  std::vector<int32_t> shown = {};  // special tokens that are text of this reply
  /// Called after every token with the text that became certain, which may be "" and never ends
  /// inside a character; false ends the request as interrupted.
  std::function<bool(std::string_view piece)> on_text = {};
  /// Called before on_text of the same token, for all but end tokens; empty: nothing is computed.
  /// options.top_logprobs is the number of others.
  std::function<void(const nn::TokenLogprobs& token)> on_logprobs = {};
  /// Called once, when the request is over.
  std::function<void(const TextResult& result)> on_done = {};
};

/// One thread submits, steps and cancels; what is const may be called from any.
class TextBatcher {
 public:
  /// Opens a folder, GGUF file or hub-cache name. Throws Unsupported when the model does not
  /// generate text.
  TextBatcher(std::string_view model,
              const nn::LoadOptions& load,
              const BatchOptions& options = {});
  ~TextBatcher();

  /// Throws InvalidArgument for a prompt that is empty, holds ids outside the vocabulary or leaves
  /// no room for an answer, and for sampling settings that are out of range or name unknown ids.
  void check(std::span<const int32_t> prompt, const nn::GenerationOptions& options) const;
  /// Takes a request and returns its number. Throws as `check` does.
  uint64_t submit(TextRequest request);
  /// Ends a request at the next step; unknown numbers are ignored.
  void cancel(uint64_t number);
  /// One step of all requests, or a whole request where they run one at a time. False when there is
  /// nothing to do. When it throws, all requests are over without an on_done, and new ones may
  /// come.
  bool step();

  /// The mean of a prompt's states after the last norm, of length 1. Runs at once, apart from the
  /// requests; the prompt has been checked.
  std::vector<float> embed(std::span<const int32_t> prompt);

  /// Whether requests are stepped together.
  bool together() const { return engine_options_.has_value(); }
  /// Requests that run at once.
  size_t width() const;
  /// The longest sequence, prompt and answer; 0 = no limit.
  int64_t room() const;
  /// As of the last step.
  nn::EngineStats stats() const;

  /// The model's own settings (generation_config.json), with the chat's end ids for `chat`.
  nn::GenerationOptions defaults(bool chat) const;
  /// Null when the model has no chat template.
  const ChatFormat* chat() const { return chat_.get(); }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  const io::fs::path& folder() const { return folder_.path; }

 private:
  struct Task;

  void finish(Task& task, nn::Finish finish);
  void run_alone(Task& task);
  void update_stats();

  models::ModelFolder folder_;
  BatchOptions options_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<ChatFormat> chat_;
  std::shared_ptr<nn::SequenceModel> model_;
  std::optional<nn::EngineOptions> engine_options_;  // none: one request at a time
  std::unique_ptr<nn::Engine> engine_;               // null when not together, or after a failure
  std::map<uint64_t, std::shared_ptr<Task>> tasks_;  // by number
  uint64_t next_ = 1;
  std::deque<uint64_t> queue_;  // of those that run one at a time

  mutable std::mutex mutex_;  // of what follows
  nn::EngineStats stats_;
};

}  // namespace tessera::pipelines
