// CUDA graphs through libtorch's own, which keep the memory of what they recorded. Rules of capture
// are in ATen/cuda/CUDAGraph.h. Part of libtessera_cuda.so, which is opened after libtorch_cuda.so.
#include "nn/step_graphs.h"

#include "core/log.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include <map>

namespace tessera::nn {
namespace {

class CudaStepGraphs : public StepGraphs {
 public:
  explicit CudaStepGraphs(at::Device device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {
    // What other streams had queued before (parameters) must be done.
    c10::cuda::device_synchronize();
  }

  void run(const std::function<void()>& body) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    body();
  }

  void replay(uint64_t key, const std::function<void()>& body) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    const auto [entry, fresh] = graphs_.try_emplace(key);
    if (fresh) {  // libraries set themselves up
      body();
      return;
    }
    std::unique_ptr<at::cuda::CUDAGraph>& graph = entry->second;
    if (graph == nullptr) {
      stream_.synchronize();
      auto recorded = std::make_unique<at::cuda::CUDAGraph>();
      // Thread-local: other threads may pin memory meanwhile.
      recorded->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      body();
      recorded->capture_end();
      pool_ = recorded->pool();
      graph = std::move(recorded);
      log::debug("captured step {:#x} as a CUDA graph", key);
    }
    graph->replay();
  }

  void wait() override { stream_.synchronize(); }

 private:
  c10::cuda::CUDAStream stream_;
  std::map<uint64_t, std::unique_ptr<at::cuda::CUDAGraph>> graphs_;
  c10::MempoolId_t pool_ = {0, 0};
};

}  // namespace
}  // namespace tessera::nn

/// Looked up by name in nn/step_graphs.cc.
extern "C" tessera::nn::StepGraphs* tessera_make_step_graphs(c10::Device device) {
  return new tessera::nn::CudaStepGraphs(device);
}
