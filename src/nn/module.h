// Base of all layers and models: a torch::nn::Module that knows its path in the checkpoint, and
// taps, which hand out the outputs of chosen submodules (libtorch's C++ modules have no hooks).
#pragma once

#include "nn/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <map>
#include <regex>
#include <string>
#include <string_view>

namespace tessera::nn {

/// Tensors by name: what entries take and return.
using NamedTensors = std::map<std::string, Tensor>;

class Module : public torch::nn::Module {
 public:
  explicit Module(const Weights& weights) : path_(weights.path()) {}
  /// Dotted path in the checkpoint, e.g. "model.layers.0.mlp".
  const std::string& path() const { return path_; }

 protected:
  /// Registers `value` under its checkpoint name and returns it. Loaded parameters start without
  /// gradients; the trainer turns them on.
  Tensor parameter(const std::string& name, Tensor value);

 private:
  std::string path_;
};

/// Collects the outputs of modules whose path matches while it lives (on this thread).
class TapCollector {
 public:
  explicit TapCollector(const std::string& pattern);
  ~TapCollector();
  TapCollector(const TapCollector&) = delete;
  TapCollector& operator=(const TapCollector&) = delete;

  /// Outputs by path; a module that ran several times keeps its last output.
  NamedTensors& tensors() { return tensors_; }

 private:
  friend const Tensor& tap(const Module& module, const Tensor& output);
  std::regex pattern_;
  NamedTensors tensors_;
  TapCollector* previous_;
};

/// Ends every forward: returns `output`, and keeps it when a collector asks for this module.
const Tensor& tap(const Module& module, const Tensor& output);

}  // namespace tessera::nn
