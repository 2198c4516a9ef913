// What the server asks of a model: typed requests in, events out. Nothing below this line knows of
// HTTP or JSON.
#pragma once

#include "core/error.h"
#include "core/message.h"
#include "text/tool_calls.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tessera::serve {

/// What a model can do, as /v1/models tells it.
struct ModelCard {
  std::string id;    // its name for clients
  std::string kind;  // "any-to-any", "text"
  std::vector<Modality> input, output;
  bool chat = false;           // conversations
  bool completion = false;     // bare prompts
  bool embeddings = false;     // of texts
  bool system = false;         // its format has a place for system messages
  bool controls = false;       // takes all of Sampling, Constraint and top_logprobs; else of
                               // Sampling temperature, top_p, top_k and guidance
  bool chat_template = false;  // its conversations go through a template, which takes variables
  bool thinks = false;         // its replies may begin with thoughts (text::ThoughtReader)
  std::optional<text::ToolSyntax> tools = {};  // how it calls functions; empty: it does not
  std::vector<std::string> voices;             // of speech, by name
  int64_t context = 0;                         // tokens; 0: no limit

  bool takes(Modality modality) const;
  bool makes(Modality modality) const;
};

/// How tokens are drawn; what is unset is the model's own.
struct Sampling {
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty, guidance;
  std::optional<double> frequency_penalty, presence_penalty;  // OpenAI's, -2 to 2
  std::optional<int64_t> top_k;
  std::vector<std::pair<int64_t, double>> logit_bias = {};  // id, added to its logit
  uint64_t seed = 0;
};

/// What the text of an answer must be.
struct Constraint {
  enum class Kind { kNone, kJsonObject, kJsonSchema, kGrammar, kRegex };
  Kind kind = Kind::kNone;
  std::string text = {};  // the schema (JSON), the rules (GBNF), or the pattern of the whole
};

/// A conversation to be answered.
struct ChatTask {
  std::vector<Message> messages;
  std::optional<Modality> to;  // what the reply must hold; kText: text alone; unset: anything
  std::vector<text::Tool> tools = {};       // functions that the reply may call
  std::vector<std::string> must_call = {};  // one of these is called; empty: as the model likes
  bool many_calls = true;                   // with must_call: more than one may be
  // Of a chat template, as pipelines::PromptSettings has them:
  std::string variables = {};
  bool ask = true;
  bool go_on = false;
};

/// A prompt to be continued: text, or ids.
struct CompletionTask {
  std::string text;
  std::vector<int32_t> ids;  // used when not empty
};

/// Texts, or ids, whose embeddings are wanted.
struct EmbeddingTask {
  std::vector<CompletionTask> inputs;
};

struct GenerationRequest {
  std::variant<ChatTask, CompletionTask, EmbeddingTask> task;
  Sampling sampling;
  Constraint constraint = {};
  /// Each token's log-probability is wanted, with those of so many others.
  std::optional<int64_t> top_logprobs = {};
  int64_t max_new_tokens = 0;  // 0: as much as there is room for
  bool stream_sound = false;   // sound is wanted in chunks as it is made
};

/// A token and what the model gave it, before any constraint, penalty and temperature.
struct TokenChoice {
  std::string bytes;   // that it adds to the text; may be a part of a character
  double logprob = 0;  // natural
};

struct TokenReport {
  TokenChoice chosen;
  std::vector<TokenChoice> top = {};  // the most likely ones, falling
};

/// How a generation ended.
struct Outcome {
  std::optional<Error> error;  // then nothing else here counts
  std::string reason;          // "stop", "length", "context", "interrupted"
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of these, found in the cache
  int64_t new_tokens = 0;
  size_t forgotten = 0;  // oldest messages that no longer fitted
  double queue_seconds = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Hears what is generated, in order, on a thread of the backend: do not block. `done` comes
/// exactly once and last.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  /// The prompt ends inside thoughts, and the text begins with the rest of them. Before all else.
  virtual void on_thoughts() {}
  /// A piece of text; never ends inside a character.
  virtual void on_text(std::string_view piece) = 0;
  /// A token, before the text that came with it; only with top_logprobs, and without end tokens.
  virtual void on_token(const TokenReport&) {}
  /// Sound as it comes, when stream_sound is set; chunks laid end to end equal the part.
  virtual void on_sound(Modality modality, const Audio& chunk) = 0;
  /// What an EmbeddingTask asks for, one after the other.
  virtual void on_embedding(std::span<const float>) {}
  /// A finished medium.
  virtual void on_part(const Part& part) = 0;
  virtual void on_done(const Outcome& outcome) = 0;
};

/// Too many requests are waiting.
class Busy : public Error {
 public:
  Busy(size_t waiting, int retry_seconds);
  int retry_seconds() const { return retry_seconds_; }

 private:
  int retry_seconds_;
};

/// The keys and values that a model keeps of its requests.
struct CacheLoad {
  double usage = 0;           // share that running requests hold
  size_t queued = 0;          // requests that wait for room in it
  int64_t prompt_tokens = 0;  // of all prompts so far
  int64_t found_tokens = 0;   // of these, found in the cache
  int64_t preemptions = 0;    // times that a request gave its place up for a while
};

struct BackendLoad {
  size_t running = 0;
  size_t waiting = 0;
  std::optional<CacheLoad> cache = std::nullopt;
};

/// One model. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const ModelCard& card() const = 0;

  using Handle = uint64_t;
  using Listeners = std::vector<std::shared_ptr<GenerationListener>>;
  /// Takes a request with as many choices as there are listeners; choice i adds i to the seed.
  /// Returns at once: its prompt and grammar are read, once for all choices, on a thread of the
  /// backend. Throws Busy when the queue has no room for all of them; every other trouble goes to
  /// on_done.
  virtual std::vector<Handle> submit(GenerationRequest request, Listeners listeners) = 0;
  /// One choice.
  Handle submit(GenerationRequest request, std::shared_ptr<GenerationListener> listener) {
    return submit(std::move(request), Listeners{std::move(listener)}).front();
  }
  /// Ends a request soon, between two tokens; its listener still gets on_done. Unknown handles are
  /// ignored.
  virtual void cancel(Handle handle) = 0;
  virtual BackendLoad load() const = 0;

  /// The prompt of a conversation as text. Throws Unsupported where there is none.
  virtual std::string prompt_text(const ChatTask& task) const = 0;
  virtual std::vector<int32_t> tokenize(std::string_view text, bool add_special) const = 0;
  /// Throws InvalidArgument for ids that there are not.
  virtual std::string detokenize(std::span<const int32_t> ids) const = 0;
};

}  // namespace tessera::serve
