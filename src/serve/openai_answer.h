// What the answers of all routes share: one or more generations for one exchange, with
// cancellation, errors and metrics.
#pragma once

#include "io/json.h"
#include "serve/api_error.h"
#include "serve/backend.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/openai_requests.h"

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::serve {

/// Sounds of the newest answers by their ids.
class SoundMemory {
 public:
  void put(const std::string& id, Audio audio);
  std::optional<Audio> find(const std::string& id) const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::pair<std::string, Audio>> sounds_;
  size_t bytes_ = 0;
};

/// "chatcmpl-" and 24 random letters and digits.
std::string make_id(std::string_view prefix);
int64_t unix_time();
/// One line; broken UTF-8 becomes U+FFFD.
std::string dump(const io::OrderedJson& json);

/// What an answer works with.
struct AnswerTools {
  Backend& backend;
  Metrics& metrics;
  SoundMemory& sounds;
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  Answer(std::shared_ptr<Exchange> exchange, AnswerTools tools)
      : exchange_(std::move(exchange)), tools_(std::move(tools)) {}
  virtual ~Answer() = default;

  /// Submits all of them, each with so many choices, or answers 429.
  void start(std::vector<GenerationRequest> requests, size_t choices = 1);

 protected:
  // Calls come one at a time; `index` counts the choices of all requests.
  virtual void on_text(size_t index, std::string_view piece) = 0;
  virtual void on_thoughts(size_t) {}
  virtual void on_token(size_t, const TokenReport&) {}
  virtual void on_sound(size_t index, Modality modality, const Audio& chunk);
  virtual void on_embedding(size_t, std::span<const float>) {}
  virtual void on_part(size_t index, const Part& part) = 0;
  /// Choice `index` ended well; `reason` is OpenAI's finish_reason.
  virtual void on_end(size_t index, const Outcome& outcome, const std::string& reason) = 0;
  /// All have.
  virtual void on_all_ended() = 0;

  /// Ends a choice as if it had stopped by itself.
  void stop(size_t index);
  /// Answers with an error, as the stream's last event where one has begun; ends all requests.
  void fail(const ApiError& error);
  /// Begins the stream on first use, and sends; ends everything when the client is gone.
  void send(std::string_view bytes);
  /// send() of one event: "data: {…}".
  void send_event(const io::OrderedJson& json);
  void stream_type(std::string_view type) { type_ = type; }
  bool streaming() const { return streaming_; }
  io::OrderedJson usage() const;
  static io::OrderedJson usage_json(int64_t prompt, int64_t cached, int64_t produced);
  /// llama.cpp's names for how long it took.
  io::OrderedJson timings() const;

  const std::shared_ptr<Exchange> exchange_;
  const AnswerTools tools_;

 private:
  class Listener;
  struct Slot {
    Backend::Handle handle = 0;
    bool stopped = false;
    bool ended = false;
  };

  void end(size_t index, const Outcome& outcome);
  void record(const Outcome& outcome, const std::string& reason);
  void know(size_t first, const std::vector<Backend::Handle>& handles);
  void cancel_all();

  std::mutex mutex_;  // one call at a time
  std::mutex slots_mutex_;
  std::vector<Slot> slots_;
  size_t ended_ = 0;
  bool over_ = false;  // nothing more is to be said
  bool streaming_ = false;
  std::string type_ = "text/event-stream";
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  int64_t prompt_tokens_ = 0, new_tokens_ = 0;      // of the longest prompt; of all
  int64_t cached_tokens_ = INT64_MAX;               // of a prompt, the least
  int64_t run_tokens_ = 0, all_cached_tokens_ = 0;  // of all prompts
  double prefill_seconds_ = 0, decode_seconds_ = 0;
};

/// The routes' answers.
void answer_chat(const std::shared_ptr<Exchange>& exchange,
                 const AnswerTools& tools,
                 ChatCall call);
void answer_completion(const std::shared_ptr<Exchange>& exchange,
                       const AnswerTools& tools,
                       CompletionCall call);
void answer_speech(const std::shared_ptr<Exchange>& exchange,
                   const AnswerTools& tools,
                   SpeechCall call);
void answer_images(const std::shared_ptr<Exchange>& exchange,
                   const AnswerTools& tools,
                   ImageCall call);
void answer_embeddings(const std::shared_ptr<Exchange>& exchange,
                       const AnswerTools& tools,
                       EmbeddingCall call);
void answer_transcription(const std::shared_ptr<Exchange>& exchange,
                          const AnswerTools& tools,
                          TranscriptionCall call);

}  // namespace tessera::serve
