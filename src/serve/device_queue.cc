// The device thread. Times of tokens are taken where the engine asks whether to go on: once after
// each token.
#include "serve/device_queue.h"

#include "core/log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

namespace tessera::serve {

using Clock = std::chrono::steady_clock;

struct DeviceQueue::Job {
  Handle handle = 0;
  GenerationRequest request;
  std::shared_ptr<GenerationListener> listener;
  std::atomic<bool> cancelled = false;
  Clock::time_point submitted = Clock::now();
};

namespace {

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

bool contains(const std::vector<Modality>& list, Modality modality) {
  return std::find(list.begin(), list.end(), modality) != list.end();
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
    : engine_(std::move(engine)),
      capacity_(capacity),
      observer_(std::move(observer)),
      thread_([this] { work(); }) {}

DeviceQueue::~DeviceQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    if (running_ != nullptr) {
      running_->cancelled = true;
    }
    for (const auto& job : waiting_) {
      job->cancelled = true;
    }
  }
  wake_.notify_all();
  thread_.join();
}

Backend::Handle DeviceQueue::submit(GenerationRequest request,
                                    std::shared_ptr<GenerationListener> listener) {
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->listener = std::move(listener);
  Handle handle = 0;
  {
    const std::lock_guard lock(mutex_);
    // A request that nothing runs before does not wait.
    const size_t before = waiting();
    if (before >= capacity_ && (running_ != nullptr || before > 0)) {
      const double wait = mean_seconds_ * static_cast<double>(before + 1) / 2;
      throw Busy(before, static_cast<int>(std::clamp(std::ceil(wait), 1.0, 60.0)));
    }
    handle = next_++;
    job->handle = handle;
    waiting_.push_back(std::move(job));
  }
  wake_.notify_one();
  return handle;
}

void DeviceQueue::cancel(Handle handle) {
  const std::lock_guard lock(mutex_);
  if (running_ != nullptr && running_->handle == handle) {
    running_->cancelled = true;
    return;
  }
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& job) { return job->handle == handle; });
  if (found != waiting_.end()) {
    // It gives its place and its media up at once; its listener hears of it when the device is
    // free.
    (*found)->cancelled = true;
    (*found)->request = {};
    std::rotate(waiting_.begin(), found, found + 1);
  }
}

BackendLoad DeviceQueue::load() const {
  const std::lock_guard lock(mutex_);
  return {.running = running_ != nullptr ? size_t{1} : size_t{0}, .waiting = waiting()};
}

size_t DeviceQueue::waiting() const {
  return static_cast<size_t>(std::count_if(waiting_.begin(), waiting_.end(),
                                           [](const auto& job) { return !job->cancelled; }));
}

std::vector<int32_t> DeviceQueue::tokenize(std::string_view text, bool add_special) const {
  return engine_->tokenize(text, add_special);
}

std::string DeviceQueue::detokenize(std::span<const int32_t> ids) const {
  return engine_->detokenize(ids);
}

void DeviceQueue::work() {
  while (true) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      running_.reset();
      wake_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) {
        return;
      }
      job = std::move(waiting_.front());
      waiting_.pop_front();
      running_ = job;
    }
    run(*job);
  }
}

void DeviceQueue::run(Job& job) {
  const auto begun = Clock::now();
  auto last = job.submitted;
  bool first = true;
  const auto go_on = [&] {
    const auto now = Clock::now();
    const auto& observe = first ? observer_.on_first_token : observer_.on_next_token;
    if (observe) {
      observe(seconds_between(last, now));
    }
    first = false;
    last = now;
    return !job.cancelled;
  };
  Outcome outcome;
  try {
    if (job.cancelled) {
      outcome.reason = "interrupted";
    } else {
      outcome = engine_->run(job.request, *job.listener, go_on);
    }
  } catch (const Error& error) {
    outcome.error = error;
  } catch (const std::bad_alloc&) {
    outcome.error = OutOfMemory("the request needs more memory than there is");
  } catch (const std::exception& error) {
    outcome.error = Internal("{}", error.what());
  }
  outcome.queue_seconds = seconds_between(job.submitted, begun);
  {
    const std::lock_guard lock(mutex_);
    mean_seconds_ += 0.2 * (seconds_between(begun, Clock::now()) - mean_seconds_);
  }
  try {
    job.listener->on_done(outcome);
  } catch (const std::exception& error) {
    log::error("a listener's end: {}", error.what());
  }
}

}  // namespace tessera::serve
