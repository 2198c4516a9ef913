// The whole training step (forward, backward, clipping, update) as one CUDA graph: the host then
// launches one thing a step, however small the model's operators are. Rules of capture are in
// train/step.h and in ATen/cuda/CUDAGraph.h.
//
// Part of libtessera_cuda.so, which is opened after libtorch_cuda.so.
#include "core/error.h"
#include "core/log.h"
#include "train/step.h"

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>

namespace tessera::train {
namespace {

constexpr int kWarmups = 4;  // eager runs of a phase before its capture

class GraphRunner : public StepRunner {
 public:
  explicit GraphRunner(TrainStep& step)
      : step_(step), stream_(c10::cuda::getStreamFromPool()), guard_(stream_) {
    // What the constructor's thread had queued before (parameters, checkpoints) must be done.
    c10::cuda::device_synchronize();
  }

  void run(const std::vector<Batch>& batches, double lr_factor, int64_t step) override {
    step_.prepare(lr_factor, batches);
    fill(batches);
    Phase& phase = phases_[step_.phase(step)];
    if (phase.graph == nullptr && phase.runs++ < kWarmups) {
      step_.compute(inputs_, step);
    } else {
      if (phase.graph == nullptr) {
        capture(phase, step);
      }
      phase.graph->replay();
    }
    step_.account(step);
  }

 private:
  struct Phase {
    int runs = 0;
    std::unique_ptr<at::cuda::CUDAGraph> graph;
  };

  // Copies the batches into the tensors that graphs read.
  void fill(const std::vector<Batch>& batches) {
    if (inputs_.empty()) {
      for (const Batch& batch : batches) {
        inputs_.push_back(step_.to_device(batch));
      }
      return;
    }
    TESSERA_CHECK(batches.size() == inputs_.size(), Internal, "{} micro-batches, the graph has {}",
                  batches.size(), inputs_.size());
    for (size_t i = 0; i < batches.size(); ++i) {
      inputs_[i].weights = batches[i].weights;
      for (const auto& [name, tensor] : batches[i].tensors) {
        Tensor& input = inputs_[i].tensors.at(name);
        TESSERA_CHECK(tensor.sizes() == input.sizes(), Internal,
                      "batch tensor '{}' changed its shape; a captured step needs fixed shapes",
                      name);
        input.copy_(tensor, /*non_blocking=*/true);
      }
    }
  }

  void capture(Phase& phase, int64_t step) {
    c10::cuda::device_synchronize();
    phase.graph = std::make_unique<at::cuda::CUDAGraph>();
    // Thread-local: workers may pin memory meanwhile.
    phase.graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    step_.compute(inputs_, step);
    phase.graph->capture_end();
    pool_ = phase.graph->pool();
    log::debug("step {}: captured as a CUDA graph", step);
  }

  TrainStep& step_;
  c10::cuda::CUDAStream stream_;
  c10::cuda::CUDAStreamGuard guard_;  // the thread stays on this stream while the runner lives
  std::vector<Batch> inputs_;
  std::map<int64_t, Phase> phases_;
  c10::MempoolId_t pool_ = {0, 0};
};

}  // namespace
}  // namespace tessera::train

/// Looked up by name in train/runner.cc.
extern "C" tessera::train::StepRunner* tessera_make_graph_runner(tessera::train::TrainStep* step) {
  return new tessera::train::GraphRunner(*step);
}
