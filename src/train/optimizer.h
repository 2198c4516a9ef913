// AdamW (arXiv 1711.05101) over libtorch's fused kernel, with clipping by global norm, skipping of
// steps with non-finite gradients and an exponential average of the parameters. Nothing in step()
// waits for the device, and all scalars that change from step to step are tensors there, so that a
// step can be captured in a CUDA graph.
#pragma once

#include "nn/module.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera::train {

using at::Tensor;

struct OptimizerOptions {
  double lr = 1e-3;  // peak
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  // largest global gradient norm; 0 = no clipping
  double ema = 0.0;   // decay of the averaged parameters; 0 = none
};

/// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
  std::vector<std::pair<std::string, Tensor>> parameters;  // names unique in the optimizer
  double lr_scale = 1.0;
  bool decay = true;
};

/// Two groups: weights of two axes and more decay; norms, biases and other vectors do not.
std::vector<ParameterGroup> default_groups(
    const std::vector<std::pair<std::string, Tensor>>& parameters);

class AdamW {
 public:
  /// Parameters are fp32 leaves on one device. Turns their gradients on and allocates them: they
  /// stay at one address, and one that the backward pass does not reach counts as zero.
  AdamW(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
  AdamW(const AdamW&) = delete;
  AdamW& operator=(const AdamW&) = delete;

  /// Learning rate of the next steps: `factor` · options.lr · lr_scale. Call outside a capture.
  void set_learning_rate(double factor);
  void zero_grad();
  /// Clips, updates parameters and moments, then the average. Gradients with a NaN or an infinity
  /// change nothing but skipped().
  void step();

  const std::vector<Tensor>& parameters() const { return parameters_; }
  const OptimizerOptions& options() const { return options_; }
  /// Global norm of the last step's gradients before clipping, fp32 on the device.
  const Tensor& grad_norm() const { return grad_norm_; }
  /// How many steps were skipped so far, fp32 on the device.
  const Tensor& skipped() const { return skipped_; }
  bool has_average() const { return options_.ema > 0; }

  /// Everything that a resumed run needs beside the parameters; tensors are not copied.
  nn::NamedTensors state() const;
  /// Copies a state back. Throws CorruptFile naming what is missing or mis-shaped.
  void load_state(const nn::NamedTensors& state);

  /// While it lives the parameters hold their average (nothing happens without one).
  class AverageScope {
   public:
    explicit AverageScope(AdamW& optimizer);
    ~AverageScope();
    AverageScope(const AverageScope&) = delete;
    AverageScope& operator=(const AverageScope&) = delete;

   private:
    AdamW& optimizer_;
    std::vector<Tensor> backup_;
  };

 private:
  struct Group {
    size_t begin;
    size_t end;  // range in the lists below
    double lr_scale;
    double weight_decay;
    Tensor lr;  // fp32 scalar
  };

  OptimizerOptions options_;
  std::vector<Group> groups_;
  std::vector<std::string> names_;
  std::vector<Tensor> parameters_, gradients_, exp_avg_, exp_avg_sq_, average_;
  Tensor step_;  // fp32 scalar: steps done, shared by all parameters
  Tensor grad_norm_, skipped_;
};

}  // namespace tessera::train
