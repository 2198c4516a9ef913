// On the CPU: fp32 weights go to libtorch's GEMM; bf16, fp16 and int8 weights go to
// ops::linear_small for up to 16 rows (bound by memory: it reads the stored bytes once) and
// otherwise are widened tile by tile. On CUDA the weight's dtype is the activation dtype.
#include "nn/linear.h"

#include "core/error.h"
#include "ops/elementwise.h"
#include "ops/linear_small.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>

namespace tessera::nn {

Linear::Linear(const Weights& weights, int64_t in, int64_t out, LinearOptions options)
    : Module(weights) {
  const bool quantised = weights.format_of("weight") == WeightFormat::kInt8Channel;
  Tensor stored = weights.tensor("weight", {out, in}, options.init);
  if (quantised) {
    const Tensor scale = weights.small_tensor("weight_scale", {out, 1});
    // A chosen dtype means "the numbers of a dense model in that dtype": dequantise now.
    if (weights.options().dtype.has_value() || !weights.options().device.is_cpu()) {
      const at::ScalarType dtype = weights.options().dtype.value_or(at::kBFloat16);
      stored = (stored.to(at::kFloat) * scale.to(at::kFloat)).to(dtype);
    } else {
      scale_ = parameter("weight_scale", scale.flatten().contiguous());
    }
  }
  weight_ = parameter("weight", stored);
  if (options.bias) {
    bias_ = parameter("bias", weights.small_tensor("bias", {out}, Init::constant(0.0)));
  }
}

Linear::Linear(const Weights& weights, Tensor tied_weight)
    : Module(weights), weight_(std::move(tied_weight)) {}

Tensor Linear::product(const Tensor& x) const {
  if (!weight_.is_cpu() || weight_.scalar_type() == x.scalar_type()) {
    return at::linear(x, weight_, bias_);
  }
  const Tensor y = ops::linear_mixed(x, weight_, scale_);
  return bias_.defined() ? y + bias_ : y;
}

Tensor Linear::forward(const Tensor& x) const {
  return tap(*this, product(x));
}

Embedding::Embedding(const Weights& weights, int64_t count, int64_t width, Init init)
    : Module(weights),
      weight_(parameter("weight", weights.tensor("weight", {count, width}, init))) {}

Tensor Embedding::forward(const Tensor& ids) const {
  Tensor rows = at::embedding(weight_, ids);
  if (rows.is_cpu() && at::isReducedFloatingType(rows.scalar_type())) {
    rows = rows.to(at::kFloat);
  }
  return tap(*this, rows);
}

RMSNorm::RMSNorm(const Weights& weights, int64_t width, double epsilon)
    : Module(weights),
      weight_(parameter("weight", weights.small_tensor("weight", {width}, Init::constant(1.0)))),
      epsilon_(epsilon) {}

Tensor RMSNorm::forward(const Tensor& x) const {
  return tap(*this, ops::rms_norm(x, weight_, epsilon_));
}

}  // namespace tessera::nn
