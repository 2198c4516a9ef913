// One optimiser step: its work on the device, and who runs that work.
//
// A step is split in three so that its middle can be captured in a CUDA graph:
//   TrainStep::prepare   host numbers (learning rate, normalisers) into device scalars
//   TrainStep::compute   forward, backward, clipping, update: device work alone
//   TrainStep::account   host-side book-keeping of what was summed up
// EagerRunner runs them as they are. A graph runner captures compute() and must keep these rules
// (CUDAGraph's own are in its header):
//   - Its batches are static tensors: every replay is preceded by copies into them. Shapes of
//     Batch::tensors never change; Batch::weights go through prepare().
//   - Run compute() three times or more on the capturing stream first. This also creates
//     accumulators and normaliser scalars, which live outside the graph's pool.
//   - Gradients, moments, counters and accumulators are allocated once and keep their addresses.
//   - One graph for each Task::phase(): account() uses the terms that compute() saw in that phase.
//   - The autocast cache is off inside (bf16 copies of weights made before a capture would be baked
//     in): TrainStep does that.
//   - Task::after_step, validation and samples run between replays, on the same stream.
#pragma once

#include "train/task.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tessera::train {

class TrainStep {
 public:
  /// Makes one optimizer for each part of the task.
  TrainStep(Task& task, const Recipe& recipe, at::Device device);

  void prepare(double lr_factor, const std::vector<Batch>& batches);
  /// `batches`: the step's micro-batches on the device.
  void compute(const std::vector<Batch>& batches, int64_t step);
  void account(int64_t step);

  /// A micro-batch with its tensors on the device (pinned sources copy without waiting).
  Batch to_device(const Batch& batch) const;
  /// Task::phase.
  int64_t phase(int64_t step) const { return task_.phase(step); }
  /// Terms of a batch as means, summed over `batches`, without gradients: validation. "loss" is the
  /// first part's loss.
  std::map<std::string, double> evaluate(const std::vector<Batch>& batches, int64_t step);

  /// Means since the last call, and gradient norms of the last step; waits for the device.
  std::map<std::string, double> take_metrics();
  /// Steps whose gradients were not finite, over all parts; waits for the device.
  int64_t skipped() const;

  struct PartState {
    std::string name;
    std::unique_ptr<AdamW> optimizer;
  };
  std::vector<PartState>& parts() { return parts_; }
  at::Device device() const { return device_; }

  /// What a checkpoint holds of this: optimizers and accumulators.
  nn::NamedTensors state() const;
  io::Json weights_state() const;
  void load_state(const nn::NamedTensors& tensors, const io::Json& weights);

 private:
  struct TermInfo {
    std::string name;
    std::string normaliser;
    double scale;
    size_t part;
  };
  struct Mean {
    Tensor sum;         // f64 on the device
    double weight = 0;  // on the host
    double scale = 0;
    size_t part = 0;
  };
  std::vector<Term> losses(const Batch& batch, int64_t step);
  std::map<std::string, double> combine(const std::map<std::string, Mean>& means) const;

  Task& task_;
  at::Device device_;
  bool bf16_;
  std::vector<PartState> parts_;
  std::map<std::string, Tensor> inverse_;  // 1 / normaliser of the step, fp32 on the device
  std::map<std::string, double> totals_;   // normalisers of the step
  std::map<int64_t, std::vector<TermInfo>> terms_;  // by phase
  std::map<std::string, Mean> means_;
};

/// Runs whole steps.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual void run(const std::vector<Batch>& batches, double lr_factor, int64_t step) = 0;
};

/// Operator by operator.
class EagerRunner : public StepRunner {
 public:
  explicit EagerRunner(TrainStep& step) : step_(step) {}
  void run(const std::vector<Batch>& batches, double lr_factor, int64_t step) override;

 private:
  TrainStep& step_;
};

/// The runner for a device: on CUDA a captured graph where the task allows it and
/// libtessera_cuda.so is there, else operator by operator.
std::unique_ptr<StepRunner> make_runner(TrainStep& step, const Task& task, bool graph);

/// Puts all modules of a task into training or evaluation mode.
void set_training(Task& task, bool training);

}  // namespace tessera::train
