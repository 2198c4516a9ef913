// The one Linear: y = x Wᵀ + b. How its weight is stored (fp32, bf16, fp16, int8 per channel,
// blocks of a GGUF file, packed integers of GPTQ, AWQ …) is a state that the Weights cursor
// chooses; callers never see it.
#pragma once

#include "nn/module.h"
#include "ops/linear_gpu.h"
#include "ops/linear_packed.h"

namespace tessera::nn {

struct LinearOptions {
  bool bias = false;
  Init init = {};
};

class Embedding;

class Linear : public Module {
 public:
  /// Takes `weight` [out, in], or the tensors that stand for it when config.json says that it is
  /// quantised, and `bias` [out] from the cursor.
  Linear(const Weights& weights, int64_t in, int64_t out, LinearOptions options = {});
  /// A head tied to an embedding table [out, in].
  Linear(const Weights& weights, const Embedding& table);

  /// [..., in] -> [..., out]. On the CPU activations are fp32 whatever the weight's dtype.
  Tensor forward(const Tensor& x) const;
  /// On a GPU, without gradients and taps: the product and what follows it in one kernel.
  Tensor forward(const Tensor& x, const ops::LinearEnd& end) const;

  /// The weight as a GPU's kernels read it; for parameters on a GPU alone.
  ops::GpuWeight gpu_weight() const;
  /// One weight of several with the same inputs, of which theirs become views; nothing where their
  /// storage differs. For parameters on a GPU without gradients.
  static std::optional<ops::GpuWeight> join(const std::vector<std::shared_ptr<Linear>>& parts);

  /// [out, in] in the storage dtype; rows of blocks are u8 [out, row bytes]; undefined when packed.
  const Tensor& weight() const { return weight_; }

 private:
  void take_weight(const Weights& weights, int64_t in, int64_t out, const Init& init);
  Tensor product(const Tensor& x) const;
  bool draw_packed(const Weights& weights, int64_t in, int64_t out);

  Tensor weight_;
  std::optional<io::BlockFormat> blocks_;
  std::optional<ops::PackedWeight> packed_;
  std::optional<ops::GpuWeight> packed_gpu_;  // without bias
  Tensor scale_;                              // [out] fp32 for int8, else undefined
  Tensor bias_;                               // [out] or undefined
};

/// Token or position table. Lookup gives fp32 on the CPU.
class Embedding : public Module {
 public:
  Embedding(const Weights& weights, int64_t count, int64_t width, Init init = {});
  /// i64 [...] -> [..., width].
  Tensor forward(const Tensor& ids) const;
  /// [count, width] in the storage dtype; rows of blocks are u8 [count, row bytes].
  const Tensor& weight() const { return weight_; }
  const std::optional<io::BlockFormat>& blocks() const { return blocks_; }

 private:
  Tensor weight_;
  std::optional<io::BlockFormat> blocks_;
};

/// Root-mean-square norm (arXiv 1910.07467): x · rsqrt(mean(x²) + eps) · weight over the last
/// dimension, the mean in fp32, cast back before the weight as the Llama reference does.
/// `unit_offset`: the factor is 1 + weight, in fp32 before the cast, as in Gemma.
class RMSNorm : public Module {
 public:
  RMSNorm(const Weights& weights, int64_t width, double epsilon, bool unit_offset = false);
  Tensor forward(const Tensor& x) const;

 private:
  Tensor weight_;
  double epsilon_;
  bool unit_offset_;
};

}  // namespace tessera::nn
