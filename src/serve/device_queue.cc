// The device thread: between two steps of the engine it takes new requests in and tells of those
// that were cancelled. Prompts are read on two threads of their own, so that a huge one holds up
// neither the device nor those who submit; a small one may overtake it. Times of tokens are taken
// where the engine asks whether to go on: once after each token. No lock is held while the engine
// works, since listeners may cancel.
#include "serve/device_queue.h"

#include "core/clock.h"
#include "core/log.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

namespace tessera::serve {

struct DeviceQueue::Job {
  Handle handle = 0;
  GenerationRequest request;
  std::shared_ptr<const PreparedRequest> prepared;
  std::shared_ptr<GenerationListener> listener;
  std::atomic<bool> cancelled = false;
  Clock::time_point submitted = Clock::now();

  // Of the device thread:
  Clock::time_point begun = submitted;
  Clock::time_point last = submitted;  // token
  bool any = false;                    // token
  bool told = false;                   // the engine knows that it was cancelled
  bool over = false;
  uint64_t number = 0;  // in the engine
};

namespace {

constexpr int kReaders = 2;

bool contains(const std::vector<Modality>& list, Modality modality) {
  return std::find(list.begin(), list.end(), modality) != list.end();
}

// What an exception, the one being handled, means for a request.
Outcome failure() {
  Outcome outcome;
  try {
    throw;
  } catch (const Error& error) {
    outcome.error = error;
  } catch (const std::bad_alloc&) {
    outcome.error = OutOfMemory("the request needs more memory than there is");
  } catch (const std::exception& error) {
    outcome.error = Internal("{}", error.what());
  }
  return outcome;
}

void tell(GenerationListener& listener, const Outcome& outcome) {
  try {
    listener.on_done(outcome);
  } catch (const std::exception& error) {
    log::error("a listener's end: {}", error.what());
  }
}

}  // namespace

bool ModelCard::takes(Modality modality) const {
  return contains(input, modality);
}

bool ModelCard::makes(Modality modality) const {
  return contains(output, modality);
}

Busy::Busy(size_t waiting, int retry_seconds)
    : Error(ErrorCode::kUnsupported,
            fmt::format(
                "{} requests are waiting already; try again in {} s", waiting, retry_seconds)),
      retry_seconds_(retry_seconds) {}

DeviceQueue::DeviceQueue(std::unique_ptr<Engine> engine, size_t capacity, QueueObserver observer)
    : engine_(std::move(engine)), capacity_(capacity), observer_(std::move(observer)) {
  for (int i = 0; i < kReaders; ++i) {
    readers_.emplace_back([this] { read_prompts(); });
  }
  thread_ = std::thread([this] { work(); });
}

DeviceQueue::~DeviceQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const auto& job : running_) {
      job->cancelled = true;
    }
    for (const auto& job : waiting_) {
      job->cancelled = true;
    }
    for (const auto* groups : {&unread_, &reading_}) {
      for (const Jobs& jobs : *groups) {
        for (const auto& job : jobs) {
          job->cancelled = true;
        }
      }
    }
  }
  read_wake_.notify_all();
  wake_.notify_all();
  for (std::thread& reader : readers_) {
    reader.join();
  }
  thread_.join();
}

std::vector<Backend::Handle> DeviceQueue::submit(GenerationRequest request, Listeners listeners) {
  const auto submitted = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    refuse_when_full(listeners.size());  // before it is copied
  }
  Jobs jobs;
  for (size_t i = 0; i < listeners.size(); ++i) {
    auto job = std::make_shared<Job>();
    job->submitted = job->begun = job->last = submitted;
    // The last one takes it. NOLINTNEXTLINE(bugprone-use-after-move, clang-analyzer-cplusplus.Move)
    job->request = i + 1 < listeners.size() ? request : std::move(request);
    job->request.sampling.seed += i;
    job->listener = std::move(listeners[i]);
    jobs.push_back(std::move(job));
  }
  std::vector<Handle> handles;
  const std::lock_guard lock(mutex_);
  refuse_when_full(jobs.size());
  for (const auto& job : jobs) {
    job->handle = next_++;
    handles.push_back(job->handle);
  }
  unread_.push_back(std::move(jobs));
  read_wake_.notify_one();
  return handles;
}

// A request that nothing runs before does not wait.
void DeviceQueue::refuse_when_full(size_t choices) const {
  const size_t before = waiting() + choices - 1;  // the last one's place
  if (before >= capacity_ && running_.size() + before >= engine_->width()) {
    const double wait =
        mean_seconds_ * static_cast<double>(before + 1) / 2 / static_cast<double>(engine_->width());
    throw Busy(waiting(), static_cast<int>(std::clamp(std::ceil(wait), 1.0, 60.0)));
  }
}

void DeviceQueue::read_prompts() {
  std::unique_lock lock(mutex_);
  while (true) {
    read_wake_.wait(lock, [&] { return ending_ || !unread_.empty(); });
    if (unread_.empty()) {
      return;
    }
    const auto taken = unread_.begin();
    reading_.splice(reading_.end(), unread_, taken);
    const Jobs jobs = *taken;
    lock.unlock();
    const std::optional<Outcome> trouble = read(jobs);
    if (trouble.has_value()) {
      for (const auto& job : jobs) {
        tell(*job->listener, *trouble);
      }
    }
    lock.lock();
    if (!trouble.has_value()) {
      for (const auto& job : jobs) {  // those that were cancelled are over without a turn
        waiting_.insert(job->cancelled ? waiting_.begin() : waiting_.end(), job);
      }
    }
    reading_.erase(taken);
    wake_.notify_one();
  }
}

// Prepares what is still wanted; what is wrong with it otherwise.
std::optional<Outcome> DeviceQueue::read(const Jobs& jobs) const {
  const auto wanted =
      std::find_if(jobs.begin(), jobs.end(), [](const auto& job) { return !job->cancelled; });
  if (wanted == jobs.end()) {
    return std::nullopt;
  }
  try {
    const std::shared_ptr<const PreparedRequest> prepared = engine_->prepare((*wanted)->request);
    for (const auto& job : jobs) {
      job->prepared = prepared;
    }
    return std::nullopt;
  } catch (...) {
    Outcome outcome = failure();
    outcome.queue_seconds = seconds_since((*wanted)->submitted);
    return outcome;
  }
}

void DeviceQueue::cancel(Handle handle) {
  const std::lock_guard lock(mutex_);
  const auto is_it = [&](const auto& job) { return job->handle == handle; };
  const auto mark = [&](const Jobs& jobs) {
    const auto found = std::find_if(jobs.begin(), jobs.end(), is_it);
    if (found != jobs.end()) {
      (*found)->cancelled = true;
    }
    return found != jobs.end();
  };
  if (mark(running_) || std::any_of(reading_.begin(), reading_.end(), mark) ||
      std::any_of(unread_.begin(), unread_.end(), mark)) {
    return;
  }
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), is_it);
  if (found != waiting_.end()) {
    // It gives its place and its media up at once; its listener hears of it when the device thread
    // comes round.
    (*found)->cancelled = true;
    (*found)->request = {};
    (*found)->prepared.reset();
    std::rotate(waiting_.begin(), found, found + 1);
  }
}

BackendLoad DeviceQueue::load() const {
  const std::lock_guard lock(mutex_);
  const std::optional<CacheLoad> cache = engine_->cache_load();
  const size_t queued = cache.has_value() ? std::min(cache->queued, running_.size()) : 0;
  return {.running = running_.size() - queued, .waiting = waiting() + queued, .cache = cache};
}

size_t DeviceQueue::waiting() const {
  const auto wanted = [](const auto& job) { return !job->cancelled; };
  auto count = std::count_if(waiting_.begin(), waiting_.end(), wanted);
  for (const auto* groups : {&unread_, &reading_}) {
    for (const Jobs& jobs : *groups) {
      count += std::count_if(jobs.begin(), jobs.end(), wanted);
    }
  }
  return static_cast<size_t>(count);
}

std::string DeviceQueue::prompt_text(const ChatTask& task) const {
  return engine_->prompt_text(task);
}

std::vector<int32_t> DeviceQueue::tokenize(std::string_view text, bool add_special) const {
  return engine_->tokenize(text, add_special);
}

std::string DeviceQueue::detokenize(std::span<const int32_t> ids) const {
  return engine_->detokenize(ids);
}

void DeviceQueue::work() {
  while (const std::optional<Jobs> fresh = next()) {
    for (const auto& job : *fresh) {
      begin(job);
    }
    cancel_begun();
    step();
  }
}

// Waits for work and takes in what there is room for; nothing at the end.
std::optional<DeviceQueue::Jobs> DeviceQueue::next() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return over() || !waiting_.empty() || !running_.empty(); });
  if (waiting_.empty() && running_.empty()) {
    return std::nullopt;
  }
  Jobs fresh;
  while (!waiting_.empty() && (running_.size() < engine_->width() || waiting_.front()->cancelled)) {
    fresh.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    running_.push_back(fresh.back());
  }
  return fresh;
}

bool DeviceQueue::told_token(Job& job) {
  const auto now = Clock::now();
  if (std::holds_alternative<EmbeddingTask>(job.request.task)) {
    return !job.cancelled;  // no tokens
  }
  const auto& observe = job.any ? observer_.on_next_token : observer_.on_first_token;
  if (observe) {
    observe(seconds_between(job.last, now));
  }
  job.any = true;
  job.last = now;
  return !job.cancelled;
}

void DeviceQueue::begin(const std::shared_ptr<Job>& job) {
  job->begun = Clock::now();
  if (job->cancelled) {
    return end(*job, {.error = std::nullopt, .reason = "interrupted"});
  }
  try {
    job->number = engine_->begin({job->request, job->prepared.get(), *job->listener,
                                  [this, &job = *job] { return told_token(job); },
                                  [this, job](const Outcome& outcome) { end(*job, outcome); }});
  } catch (...) {
    end(*job, failure());
  }
}

void DeviceQueue::cancel_begun() {
  for (const auto& job : running_) {
    if (job->cancelled && !job->told) {
      job->told = true;
      engine_->cancel(job->number);
    }
  }
}

void DeviceQueue::step() {
  if (running_.empty()) {
    return;
  }
  try {
    engine_->step();
  } catch (...) {
    const Outcome outcome = failure();
    for (const auto& job : Jobs(running_)) {
      end(*job, outcome);
    }
  }
}

void DeviceQueue::end(Job& job, Outcome outcome) {
  if (std::exchange(job.over, true)) {
    return;
  }
  outcome.queue_seconds = seconds_between(job.submitted, job.begun);
  std::shared_ptr<Job> kept;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(running_.begin(), running_.end(),
                                    [&](const auto& other) { return other.get() == &job; });
    kept = std::move(*found);
    running_.erase(found);
    mean_seconds_ += 0.2 * (seconds_since(job.begun) - mean_seconds_);
  }
  tell(*job.listener, outcome);
}

}  // namespace tessera::serve
