// Work on a GPU that is the same step after step, recorded once and then started as one thing
// (CUDA graphs): launching some hundred small kernels one by one takes longer than running them.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace tessera::nn {

/// A stream of its own. One thread at a time.
class StepGraphs {
 public:
  virtual ~StepGraphs() = default;

  /// Runs `body` with this stream as the current one. Nothing is waited for.
  virtual void run(const std::function<void()>& body) = 0;
  /// The first call with a key runs `body`, the second records it, and from then on what was
  /// recorded is started: the same kernels on the same memory. Tensors that `body` makes live until
  /// the next call of any key. `body` must not wait for the device, and reads and writes what is to
  /// change in tensors that stay where they are.
  virtual void replay(uint64_t key, const std::function<void()>& body) = 0;
  /// Waits until all of this is done.
  virtual void wait() = 0;
};

/// Null without libtessera_cuda.so.
std::unique_ptr<StepGraphs> make_step_graphs(at::Device device);

}  // namespace tessera::nn
