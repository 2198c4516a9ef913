// What must hold for the whole process once libtorch is in it.
#include <ATen/Parallel.h>

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <set>
#include <string>

namespace tessera {

// A second OpenMP runtime would bring a second pool of threads that fights the first.
TEST(Process, MapsExactlyOneLibgomp) {
  at::parallel_for(0, 1000, 1, [](int64_t, int64_t) {});
  std::set<std::string> files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t name = line.find("/");
    if (name != std::string::npos &&
        (line.find("libgomp") != std::string::npos || line.find("libiomp") != std::string::npos)) {
      files.insert(line.substr(name));
    }
  }
  EXPECT_EQ(files.size(), 1U);
}

// Without -fopenmp in our own flags this loop silently runs on one thread.
TEST(Process, ParallelForUsesTheThreadsItWasGiven) {
  if (at::get_num_threads() < 2) {
    at::set_num_threads(2);
  }
  std::set<int> threads;
  std::mutex mutex;
  at::parallel_for(0, 64, 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    threads.insert(at::get_thread_num());
  });
  EXPECT_GT(threads.size(), 1U);
}

}  // namespace tessera
