#include "train/data/prefetch.h"

#include <omp.h>

namespace tessera::train {

Prefetch::Prefetch(Make make, int64_t first, int64_t workers)
    : make_(std::move(make)), next_(first), claimed_(first), ahead_(2 * workers + 2) {
  for (int64_t i = 0; i < workers; ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

Prefetch::~Prefetch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
}

void Prefetch::work() {
  omp_set_num_threads(1);  // of this thread's own pool: the cores belong to the training thread
  for (;;) {
    int64_t index = 0;
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] { return stop_ || claimed_ < next_ + ahead_; });
      if (stop_) {
        return;
      }
      index = claimed_++;
    }
    Slot slot;
    try {
      slot.batch = make_(index);
    } catch (...) {
      slot.error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      ready_[index] = std::move(slot);
    }
    made_.notify_all();
  }
}

Batch Prefetch::next() {
  if (threads_.empty()) {
    return make_(next_++);
  }
  Slot slot;
  {
    std::unique_lock lock(mutex_);
    made_.wait(lock, [&] { return ready_.contains(next_); });
    slot = std::move(ready_.extract(next_).mapped());
    ++next_;
  }
  room_.notify_all();
  if (slot.error != nullptr) {
    std::rethrow_exception(slot.error);
  }
  return std::move(slot.batch);
}

}  // namespace tessera::train
