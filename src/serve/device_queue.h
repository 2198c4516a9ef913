// A bounded queue before one thread that drives a model: one request after the other, or as many
// together as the model takes. Two more threads read the prompts of what comes.
#pragma once

#include "serve/backend.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <span>
#include <thread>

namespace tessera::serve {

/// What an engine made of a request before its turn; the choices of a request share it.
class PreparedRequest {
 public:
  virtual ~PreparedRequest() = default;
};

/// A request on its way through an engine. What it refers to lives until `done`.
struct EngineJob {
  const GenerationRequest& request;
  const PreparedRequest* prepared;  // by the same engine; of any seed
  GenerationListener& listener;
  /// Asked after every token; false ends the request with "interrupted".
  std::function<bool()> go_on;
  std::function<void(const Outcome& outcome)> done;
};

/// What drives a model, from one thread at a time; what is const may be called from any.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual const ModelCard& card() const = 0;
  /// What can be done of a request without the model and whatever its seed: template, tokens,
  /// grammar. Throws what is wrong with it. Null where there is nothing to do.
  virtual std::unique_ptr<PreparedRequest> prepare(const GenerationRequest&) const {
    return nullptr;
  }

  /// Requests that it takes at once.
  virtual size_t width() const { return 1; }
  /// Begins a request and returns its number. `done` is called once, from here or from a later
  /// step(), unless this throws.
  virtual uint64_t begin(EngineJob job) = 0;
  /// Works on what has begun. When it throws, all of these are over without `done`.
  virtual void step() {}
  /// Ends a request that has begun at the next step.
  virtual void cancel(uint64_t) {}
  virtual std::optional<CacheLoad> cache_load() const { return std::nullopt; }

  virtual std::string prompt_text(const ChatTask&) const {
    throw Unsupported("this model's prompts are no text");
  }
  virtual std::vector<int32_t> tokenize(std::string_view text, bool add_special) const = 0;
  virtual std::string detokenize(std::span<const int32_t> ids) const = 0;
};

/// What the queue tells about its work, for metrics; any may be left empty. On the device thread.
struct QueueObserver {
  std::function<void(double seconds)> on_first_token;  // since submit
  std::function<void(double seconds)> on_next_token;   // since the token before
};

class DeviceQueue : public Backend {
 public:
  /// At most `capacity` choices of requests wait, or are read, besides those that run.
  DeviceQueue(std::unique_ptr<Engine> engine, size_t capacity, QueueObserver observer = {});
  /// Ends what runs and answers what waits with "interrupted".
  ~DeviceQueue() override;

  const ModelCard& card() const override { return engine_->card(); }
  using Backend::submit;
  std::vector<Handle> submit(GenerationRequest request, Listeners listeners) override;
  void cancel(Handle handle) override;
  BackendLoad load() const override;
  std::string prompt_text(const ChatTask& task) const override;
  std::vector<int32_t> tokenize(std::string_view text, bool add_special) const override;
  std::string detokenize(std::span<const int32_t> ids) const override;

 private:
  struct Job;
  using Jobs = std::vector<std::shared_ptr<Job>>;
  void read_prompts();
  std::optional<Outcome> read(const Jobs& jobs) const;
  void work();
  std::optional<Jobs> next();
  void begin(const std::shared_ptr<Job>& job);
  void cancel_begun();
  void step();
  bool told_token(Job& job);
  void end(Job& job, Outcome outcome);
  // Under the mutex:
  size_t waiting() const;                       // those that were not cancelled
  void refuse_when_full(size_t choices) const;  // throws Busy
  bool over() const { return ending_ && unread_.empty() && reading_.empty(); }

  std::unique_ptr<Engine> engine_;
  const size_t capacity_;
  const QueueObserver observer_;
  mutable std::mutex mutex_;
  std::condition_variable read_wake_;  // of the readers
  std::condition_variable wake_;       // of the device thread
  std::list<Jobs> unread_, reading_;   // choices of a request each
  std::deque<std::shared_ptr<Job>> waiting_;
  Jobs running_;  // changed by the thread alone
  Handle next_ = 1;
  bool ending_ = false;
  double mean_seconds_ = 1;           // of a request, for Retry-After
  std::vector<std::thread> readers_;  // last: they start when all else is there
  std::thread thread_;
};

}  // namespace tessera::serve
