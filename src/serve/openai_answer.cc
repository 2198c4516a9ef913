// An answer owns its exchange; the backend's listeners own the answer. When the client goes, the
// requests are cancelled, their listeners end, and everything is released.
#include "serve/openai_answer.h"

#include "core/clock.h"
#include "core/random.h"

#include <algorithm>
#include <random>

namespace tessera::serve {
namespace {

constexpr size_t kSounds = 64;
constexpr size_t kSoundBytes = 64 << 20;

}  // namespace

void SoundMemory::put(const std::string& id, Audio audio) {
  const std::lock_guard lock(mutex_);
  bytes_ += audio.samples.size() * sizeof(float);
  sounds_.emplace_back(id, std::move(audio));
  while (!sounds_.empty() && (sounds_.size() > kSounds || bytes_ > kSoundBytes)) {
    bytes_ -= sounds_.front().second.samples.size() * sizeof(float);
    sounds_.pop_front();
  }
}

std::optional<Audio> SoundMemory::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, audio] : sounds_) {
    if (name == id) {
      return audio;
    }
  }
  return std::nullopt;
}

std::string make_id(std::string_view prefix) {
  static std::mutex mutex;
  static Rng rng = [] {
    std::random_device device;
    return Rng(uint64_t{device()} << 32 | device());
  }();
  constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string id(prefix);
  const std::lock_guard lock(mutex);
  for (int i = 0; i < 24; ++i) {
    id += kLetters[rng.below(kLetters.size())];
  }
  return id;
}

int64_t unix_time() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string dump(const io::OrderedJson& json) {
  return json.dump(-1, ' ', false, io::OrderedJson::error_handler_t::replace);
}

class Answer::Listener : public GenerationListener {
 public:
  Listener(std::shared_ptr<Answer> answer, size_t index)
      : answer_(std::move(answer)), index_(index) {}

  void on_text(std::string_view piece) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!quiet()) {
      answer_->on_text(index_, piece);
    }
  }
  void on_thoughts() override {
    const std::lock_guard lock(answer_->mutex_);
    answer_->on_thoughts(index_);
  }
  void on_token(const TokenReport& token) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!quiet()) {
      answer_->on_token(index_, token);
    }
  }
  void on_sound(Modality modality, const Audio& chunk) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!quiet()) {
      answer_->on_sound(index_, modality, chunk);
    }
  }
  void on_embedding(std::span<const float> values) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!quiet()) {
      answer_->on_embedding(index_, values);
    }
  }
  void on_part(const Part& part) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!quiet()) {
      answer_->on_part(index_, part);
    }
  }
  void on_done(const Outcome& outcome) override {
    const std::lock_guard lock(answer_->mutex_);
    answer_->end(index_, outcome);
  }

 private:
  bool quiet() const { return answer_->over_ || answer_->slots_[index_].stopped; }

  std::shared_ptr<Answer> answer_;
  size_t index_;
};

void Answer::start(std::vector<GenerationRequest> requests, size_t choices) {
  slots_.resize(requests.size() * choices);
  exchange_->on_close([weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->cancel_all();
    }
  });
  for (size_t i = 0; i < requests.size(); ++i) {
    {  // one was refused, or the client went: the others need not begin
      const std::lock_guard lock(mutex_);
      if (over_ || exchange_->gone()) {
        break;
      }
    }
    try {
      Backend::Listeners listeners;
      for (size_t k = 0; k < choices; ++k) {
        listeners.push_back(std::make_shared<Listener>(shared_from_this(), i * choices + k));
      }
      know(i * choices, tools_.backend.submit(std::move(requests[i]), std::move(listeners)));
    } catch (const Busy& busy) {
      ApiError error(429, busy.what(), {}, "queue_full");
      error.headers.emplace_back("Retry-After", std::to_string(busy.retry_seconds()));
      const std::lock_guard lock(mutex_);
      return fail(error);
    }
  }
  const std::lock_guard lock(mutex_);
  if (over_ || exchange_->gone()) {  // it went, or one failed, while they were submitted
    cancel_all();
  }
}

// The handles of slots from `first` on. What was to be stopped before they were known is cancelled.
void Answer::know(size_t first, const std::vector<Backend::Handle>& handles) {
  std::vector<Backend::Handle> stopped;
  {
    const std::lock_guard lock(slots_mutex_);
    for (size_t i = 0; i < handles.size(); ++i) {
      slots_[first + i].handle = handles[i];
      if (slots_[first + i].stopped) {
        stopped.push_back(handles[i]);
      }
    }
  }
  for (const Backend::Handle handle : stopped) {
    tools_.backend.cancel(handle);
  }
}

void Answer::cancel_all() {
  std::vector<Backend::Handle> handles;
  {
    const std::lock_guard lock(slots_mutex_);
    for (const Slot& slot : slots_) {
      handles.push_back(slot.handle);
    }
  }
  for (const Backend::Handle handle : handles) {
    tools_.backend.cancel(handle);
  }
}

void Answer::on_sound(size_t, Modality, const Audio&) {}

void Answer::stop(size_t index) {
  Backend::Handle handle = 0;
  {
    const std::lock_guard lock(slots_mutex_);
    slots_[index].stopped = true;
    handle = slots_[index].handle;
  }
  tools_.backend.cancel(handle);
}

void Answer::fail(const ApiError& error) {
  if (std::exchange(over_, true)) {
    return;
  }
  if (streaming_) {
    if (type_ == "text/event-stream") {
      exchange_->write("data: " + error.body() + "\n\n");
    }
    exchange_->end();
  } else {
    exchange_->respond(error.response());
  }
  cancel_all();
}

void Answer::send(std::string_view bytes) {
  if (over_) {
    return;
  }
  bool alive = streaming_ || exchange_->begin_stream(200, type_, {{"Cache-Control", "no-cache"}});
  streaming_ = true;
  alive = alive && exchange_->write(bytes);
  if (!alive) {
    over_ = true;
    cancel_all();
  }
}

void Answer::send_event(const io::OrderedJson& json) {
  send("data: " + dump(json) + "\n\n");
}

void Answer::end(size_t index, const Outcome& outcome) {
  bool stopped = false;
  {
    const std::lock_guard lock(slots_mutex_);
    stopped = slots_[index].stopped;
    slots_[index].ended = true;
  }
  ++ended_;
  const bool interrupted = outcome.reason == "interrupted" && !stopped;
  const std::string reason = stopped || outcome.reason == "stop" ? "stop"
                             : interrupted                       ? "abort"
                                                                 : "length";
  record(outcome, outcome.error.has_value() ? "error" : reason);
  if (over_) {
    return;
  }
  if (outcome.error.has_value()) {
    return fail(api_error_of(*outcome.error));
  }
  if (interrupted) {
    over_ = exchange_->gone();
    return fail(ApiError(503, "the server is ending", {}, "server_ending"));
  }
  prompt_tokens_ = std::max(prompt_tokens_, outcome.prompt_tokens);
  cached_tokens_ = std::min(cached_tokens_, outcome.cached_tokens);
  run_tokens_ += outcome.prompt_tokens - outcome.cached_tokens;
  all_cached_tokens_ += outcome.cached_tokens;
  new_tokens_ += outcome.new_tokens;
  prefill_seconds_ += outcome.prefill_seconds;
  decode_seconds_ += outcome.decode_seconds;
  on_end(index, outcome, reason);
  if (ended_ == slots_.size() && !over_) {
    on_all_ended();
    over_ = true;
  }
}

void Answer::record(const Outcome& outcome, const std::string& reason) {
  Metrics& metrics = tools_.metrics;
  const MetricLabels labels = {{"model_name", tools_.backend.card().id}};
  metrics.add("request_success_total",
              {{"model_name", tools_.backend.card().id}, {"finished_reason", reason}});
  if (outcome.error.has_value()) {
    return;
  }
  metrics.add("prompt_tokens_total", labels, static_cast<double>(outcome.prompt_tokens));
  metrics.add("generation_tokens_total", labels, static_cast<double>(outcome.new_tokens));
  metrics.observe("request_prompt_tokens", labels, static_cast<double>(outcome.prompt_tokens));
  metrics.observe("request_generation_tokens", labels, static_cast<double>(outcome.new_tokens));
  metrics.observe("request_queue_time_seconds", labels, outcome.queue_seconds);
  metrics.observe("request_prefill_time_seconds", labels, outcome.prefill_seconds);
  metrics.observe("request_decode_time_seconds", labels, outcome.decode_seconds);
  metrics.observe("request_inference_time_seconds", labels,
                  outcome.prefill_seconds + outcome.decode_seconds);
  metrics.observe("e2e_request_latency_seconds", labels, seconds_since(begun_));
}

io::OrderedJson Answer::usage() const {
  return usage_json(prompt_tokens_, ended_ > 0 ? cached_tokens_ : 0, new_tokens_);
}

io::OrderedJson Answer::usage_json(int64_t prompt, int64_t cached, int64_t produced) {
  return {{"prompt_tokens", prompt},
          {"completion_tokens", produced},
          {"total_tokens", prompt + produced},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

io::OrderedJson Answer::timings() const {
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  return {{"cache_n", all_cached_tokens_},
          {"prompt_n", run_tokens_},
          {"prompt_ms", 1000 * prefill_seconds_},
          {"prompt_per_second", rate(run_tokens_, prefill_seconds_)},
          {"predicted_n", new_tokens_},
          {"predicted_ms", 1000 * decode_seconds_},
          {"predicted_per_second", rate(new_tokens_, decode_seconds_)}};
}

}  // namespace tessera::serve
