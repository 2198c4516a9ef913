// Independent pieces of work on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::train {

/// Threads for a recipe's `threads`: as given, or one a core when 0.
inline int64_t thread_count(int64_t wanted) {
  return wanted > 0 ? wanted : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

/// Runs job(0 … count − 1) on up to `threads` threads; rethrows one of the exceptions.
template <class Job>
void spread(int64_t count, int64_t threads, Job job) {
  std::atomic<int64_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    for (int64_t i = next++; i < count; i = next++) {
      try {
        job(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
        next = count;
      }
    }
  };
  {
    std::vector<std::jthread> workers;
    for (int64_t i = 0; i < std::min(threads, count); ++i) {
      workers.emplace_back(work);
    }
  }
  if (failure != nullptr) {
    std::rethrow_exception(failure);
  }
}

}  // namespace tessera::train
