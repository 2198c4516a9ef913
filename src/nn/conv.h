// Convolutions and the ConvNeXt block (arXiv 2201.03545) over time and over pictures. Over time
// they can be causal, and then run chunk by chunk with the same result.
#pragma once

#include "nn/linear.h"

#include <memory>
#include <vector>

namespace tessera::nn {

/// What causal layers remember between the chunks of one stream. Layers take their slots in the
/// order in which they run, which is the same for every chunk.
class StreamState {
 public:
  /// Before every chunk.
  void rewind() { next_ = 0; }
  /// The next layer's memory; undefined before its first chunk.
  Tensor& slot();

 private:
  std::vector<Tensor> slots_;
  size_t next_ = 0;
};

struct Conv1dOptions {
  int64_t kernel = 1;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool causal = false;  // looks back only; else centred, which needs an odd reach
};

/// [B, T, in] -> [B, T, out]; `weight` [out, in / groups, kernel], `bias` [out].
class Conv1d : public Module {
 public:
  Conv1d(const Weights& weights, int64_t in, int64_t out, const Conv1dOptions& options);
  /// `state` needs a causal layer.
  Tensor forward(const Tensor& x, StreamState* state = nullptr) const;

 private:
  Conv1dOptions options_;
  Tensor weight_, bias_;
};

struct Conv2dOptions {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t groups = 1;
  int64_t padding = -1;  // negative: (kernel - 1) / 2
};

/// [B, in, H, W] -> [B, out, H', W'], channels last in memory; `weight` [out, in / groups, kernel,
/// kernel], `bias` [out].
class Conv2d : public Module {
 public:
  Conv2d(const Weights& weights, int64_t in, int64_t out, const Conv2dOptions& options);
  Tensor forward(const Tensor& x) const;

 private:
  Conv2dOptions options_;
  Tensor weight_, bias_;
};

/// Layer norm over the last axis, in fp32, with `weight` and `bias`.
class LayerNorm : public Module {
 public:
  LayerNorm(const Weights& weights, int64_t width, double epsilon = 1e-6);
  Tensor forward(const Tensor& x) const;

 private:
  Tensor weight_, bias_;
  double epsilon_;
};

struct ConvNextOptions {
  int64_t kernel = 7;
  int64_t dilation = 1;  // over time only
  int64_t expansion = 3;
  bool causal = false;  // over time only
  double residual = 1;  // scale of the last weight's start; 1/√blocks keeps deep stacks tame
};

/// x + pwconv2(gelu(pwconv1(norm(dwconv x)))) over time, [B, T, C].
class ConvNext1d : public Module {
 public:
  ConvNext1d(const Weights& weights, int64_t width, const ConvNextOptions& options);
  Tensor forward(const Tensor& x, StreamState* state = nullptr) const;

 private:
  std::shared_ptr<Conv1d> dwconv_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> pwconv1_, pwconv2_;
};

/// The same over pictures, [B, C, H, W].
class ConvNext2d : public Module {
 public:
  ConvNext2d(const Weights& weights, int64_t width, const ConvNextOptions& options);
  Tensor forward(const Tensor& x) const;

 private:
  std::shared_ptr<Conv2d> dwconv_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> pwconv1_, pwconv2_;
};

/// Blocks in a row, under the names 0, 1, …
class ConvNext1dStack : public Module {
 public:
  ConvNext1dStack(const Weights& weights, int64_t blocks, int64_t width, ConvNextOptions options);
  Tensor forward(Tensor x, StreamState* state = nullptr) const;

 private:
  std::vector<std::shared_ptr<ConvNext1d>> blocks_;
};

class ConvNext2dStack : public Module {
 public:
  ConvNext2dStack(const Weights& weights, int64_t blocks, int64_t width, ConvNextOptions options);
  Tensor forward(Tensor x) const;

 private:
  std::vector<std::shared_ptr<ConvNext2d>> blocks_;
};

}  // namespace tessera::nn
