// Batches made ahead by worker threads and handed out in order.
#pragma once

#include "train/task.h"

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::train {

/// Makes items `first`, `first` + 1, … of a function. Item i is the same whatever the number of
/// workers. At most 2 · workers + 2 items wait at a time. An exception of the function comes out of
/// next() at its item.
class Prefetch {
 public:
  using Make = std::function<Batch(int64_t index)>;

  /// workers 0: next() calls `make` itself.
  Prefetch(Make make, int64_t first, int64_t workers);
  ~Prefetch();
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  Batch next();

 private:
  struct Slot {
    Batch batch;
    std::exception_ptr error;
  };
  void work();

  Make make_;
  int64_t next_;     // item that next() gives out
  int64_t claimed_;  // next item without a worker
  int64_t ahead_;    // most items between the two
  std::map<int64_t, Slot> ready_;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable made_, room_;
  std::vector<std::jthread> threads_;
};

}  // namespace tessera::train
