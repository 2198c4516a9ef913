// Any-to-any conversation: messages of text, pictures, speech and music go in, and the reply's
// parts stream out as they are made. One function for the program, the server and the libraries.
#pragma once

#include "core/message.h"
#include "models/registry.h"
#include "nn/generate.h"
#include "pipelines/any_format.h"
#include "pipelines/engine_plan.h"

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tessera::pipelines {

struct ConverseOptions {
  /// What the reply must hold: it does not end before such a part is there. kText: text alone.
  /// Unset: the model decides.
  std::optional<Modality> to;
  uint64_t seed = 0;
  int64_t max_new_tokens = 0;         // 0: as much as the context has room for
  bool greedy = false;                // of text; media are always drawn
  std::optional<double> temperature;  // of text
  std::optional<double> top_p;        // of text
  std::optional<int64_t> top_k;       // of text
  std::optional<double> guidance;     // of every media span; unset: the model's own
};

/// What a reply tells while it is made; every function may be left empty. `row` is the conversation
/// of a batch.
struct ConverseEvents {
  /// Text as it comes, never ending inside a character.
  std::function<void(size_t row, std::string_view piece)> on_text;
  /// A media span begins.
  std::function<void(size_t row, Modality modality)> on_begin;
  /// Sound as it comes, mono; the chunks laid end to end equal the finished part.
  std::function<void(size_t row, Modality modality, const Audio& chunk)> on_audio;
  /// A media part is finished.
  std::function<void(size_t row, const Part& part)> on_part;
  /// The oldest `turns` messages left the context.
  std::function<void(size_t row, size_t turns)> on_forget;
  /// False stops the reply.
  std::function<bool()> go_on;
};

struct Reply {
  Message message;     // text and media in order
  std::string reason;  // "stop", "length" (token limit), "context", "interrupted"
  bool valid = true;   // every span whole; false only when the reply was cut
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
  int64_t new_tokens = 0;
  size_t forgotten = 0;        // oldest messages that no longer fitted
  double prefill_seconds = 0;  // media to tokens included
  double decode_seconds = 0;
  double first_audio_seconds = -1;  // from the call to the first chunk; −1: none
};

/// What answers conversations.
class Talker {
 public:
  virtual ~Talker() = default;
  /// Answers conversations, each ending with a user's message; the reply of a conversation does not
  /// depend on the others. Throws InvalidArgument for what the model does not take.
  virtual std::vector<Reply> reply(std::span<const std::vector<Message>> conversations,
                                   const ConverseOptions& options,
                                   const ConverseEvents& events = {}) = 0;
  /// The same for one conversation.
  Reply reply(const std::vector<Message>& conversation,
              const ConverseOptions& options,
              const ConverseEvents& events = {}) {
    return std::move(reply(std::span(&conversation, 1), options, events).front());
  }
};

/// A conversation on its way through AnyToAny.
struct ConverseRequest {
  std::vector<Message> conversation;
  ConverseOptions options = {};
  ConverseEvents events = {};
  size_t row = 0;  // that events are told
  /// Called once, when the reply is over. `error`: what an event threw, or what went wrong with
  /// this conversation alone; then the reply does not count.
  std::function<void(Reply reply, const std::exception_ptr& error)> on_done = {};
};

/// A language model with the codecs of its media. Conversations are stepped together by nn::Engine,
/// which keeps what they have in common: a later turn runs what is new. One thread drives it.
class AnyToAny : public Talker {
 public:
  /// Opens a folder in AnyGPT's format (any_format.h). Throws NotFound, CorruptFile, Unsupported.
  AnyToAny(std::string_view model,
           const nn::LoadOptions& load,
           const BatchOptions& batch = {.sequences = 16});
  ~AnyToAny() override;

  /// Answers conversations, each ending with a user's message. The reply of a conversation does not
  /// depend on the others. A user's media are put before its text when there is one text part.
  /// Throws InvalidArgument for an empty conversation or message, a modality `to` that the model
  /// lacks, or a last message that alone exceeds the context.
  std::vector<Reply> reply(std::span<const std::vector<Message>> conversations,
                           const ConverseOptions& options,
                           const ConverseEvents& events = {}) override;
  using Talker::reply;

  /// Takes a conversation and returns its number. Throws as `reply` does.
  uint64_t submit(ConverseRequest request);
  /// Ends a reply at the next step as interrupted; unknown numbers are ignored.
  void cancel(uint64_t number);
  /// One token of all replies under way. False when there is nothing to do. When it throws, all
  /// replies are over without an on_done, and new ones may come.
  bool step();
  /// Replies that are made at once.
  size_t width() const;
  /// As of the last step; from any thread.
  nn::EngineStats stats() const;

  /// Media as the model's tokens: pictures are made square and resized, sound is mixed to mono and
  /// resampled. Media of earlier replies give the tokens that they were made of. Throws
  /// InvalidArgument for empty media, Unsupported for a modality without a codec.
  CodedPart encode(const Part& part) const;
  /// The inverse for media; speech and music come back as Audio, pictures as Image.
  Part decode(const CodedPart& part) const;

  const AnyFormat& format() const;
  const nn::Codec& codec(Modality modality) const;
  bool has(Modality modality) const;
  nn::SequenceModel& language_model() const;
  const text::Tokenizer& tokenizer() const;
  /// any_to_any.json.
  const io::Json& config() const;
  const io::fs::path& folder() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::pipelines
