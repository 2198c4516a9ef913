// Over time the layout between layers is [B, T, C], since all but the depthwise convolution works
// frame by frame; over pictures it is [B, C, H, W] with channels last in memory, so that the turn
// to [B, H, W, C] costs nothing.
#include "nn/conv.h"

#include "core/error.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>

namespace tessera::nn {
namespace {

Init fan_in(int64_t inputs, double gain = 1.0) {
  return Init::normal(gain / std::sqrt(static_cast<double>(inputs)));
}

// Under autocast a norm's result is fp32 and a product's bf16; sums keep the wider.
std::shared_ptr<Linear> linear(const Weights& weights, int64_t in, int64_t out, double gain) {
  return std::make_shared<Linear>(weights, in, out, LinearOptions{true, fan_in(in, gain)});
}

}  // namespace

Tensor& StreamState::slot() {
  if (next_ == slots_.size()) {
    slots_.emplace_back();
  }
  return slots_[next_++];
}

Conv1d::Conv1d(const Weights& weights, int64_t in, int64_t out, const Conv1dOptions& options)
    : Module(weights), options_(options) {
  TESSERA_CHECK(in % options.groups == 0 && out % options.groups == 0, InvalidArgument,
                "{}: channels {} and {} must be multiples of groups {}", path(), in, out,
                options.groups);
  const int64_t inputs = in / options.groups;
  weight_ = parameter("weight", weights.tensor("weight", {out, inputs, options.kernel},
                                               fan_in(inputs * options.kernel)));
  bias_ = parameter("bias", weights.small_tensor("bias", {out}, Init::constant(0)));
}

Tensor Conv1d::forward(const Tensor& x, StreamState* state) const {
  const int64_t reach = (options_.kernel - 1) * options_.dilation;
  Tensor y = x.transpose(1, 2);  // [B, C, T]
  if (state != nullptr) {
    TESSERA_CHECK(options_.causal, Internal, "{}: only causal convolutions can stream", path());
    Tensor& past = state->slot();
    if (!past.defined()) {
      past = at::zeros({y.size(0), y.size(1), reach}, y.options());
    }
    y = at::cat({past, y}, 2);
    past = y.narrow(2, y.size(2) - reach, reach).clone();
  } else {
    const int64_t left = options_.causal ? reach : reach / 2;
    y = at::constant_pad_nd(y, {left, reach - left});
  }
  const std::array<int64_t, 1> dilation = {options_.dilation};
  y = at::conv1d(y, weight_, bias_, 1, at::IntArrayRef{0}, dilation, options_.groups);
  return tap(*this, y.transpose(1, 2));
}

Conv2d::Conv2d(const Weights& weights, int64_t in, int64_t out, const Conv2dOptions& options)
    : Module(weights), options_(options) {
  TESSERA_CHECK(in % options.groups == 0 && out % options.groups == 0, InvalidArgument,
                "{}: channels {} and {} must be multiples of groups {}", path(), in, out,
                options.groups);
  const int64_t inputs = in / options.groups;
  weight_ =
      parameter("weight", weights.tensor("weight", {out, inputs, options.kernel, options.kernel},
                                         fan_in(inputs * options.kernel * options.kernel)));
  bias_ = parameter("bias", weights.small_tensor("bias", {out}, Init::constant(0)));
}

Tensor Conv2d::forward(const Tensor& x) const {
  const int64_t padding = options_.padding < 0 ? (options_.kernel - 1) / 2 : options_.padding;
  return tap(*this, at::conv2d(x.contiguous(at::MemoryFormat::ChannelsLast), weight_, bias_,
                               options_.stride, padding, 1, options_.groups));
}

LayerNorm::LayerNorm(const Weights& weights, int64_t width, double epsilon)
    : Module(weights),
      weight_(parameter("weight", weights.small_tensor("weight", {width}, Init::constant(1)))),
      bias_(parameter("bias", weights.small_tensor("bias", {width}, Init::constant(0)))),
      epsilon_(epsilon) {}

Tensor LayerNorm::forward(const Tensor& x) const {
  return tap(*this, at::layer_norm(x, {x.size(-1)}, weight_, bias_, epsilon_));
}

ConvNext1d::ConvNext1d(const Weights& weights, int64_t width, const ConvNextOptions& options)
    : Module(weights) {
  const int64_t inner = width * options.expansion;
  const Conv1dOptions depthwise{.kernel = options.kernel,
                                .dilation = options.dilation,
                                .groups = width,
                                .causal = options.causal};
  dwconv_ = register_module(
      "dwconv", std::make_shared<Conv1d>(weights.child("dwconv"), width, width, depthwise));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(weights.child("norm"), width));
  pwconv1_ = register_module("pwconv1", linear(weights.child("pwconv1"), width, inner, 1));
  pwconv2_ =
      register_module("pwconv2", linear(weights.child("pwconv2"), inner, width, options.residual));
}

Tensor ConvNext1d::forward(const Tensor& x, StreamState* state) const {
  const Tensor h = pwconv1_->forward(norm_->forward(dwconv_->forward(x, state)));
  return tap(*this, x + pwconv2_->forward(at::gelu(h)));
}

ConvNext2d::ConvNext2d(const Weights& weights, int64_t width, const ConvNextOptions& options)
    : Module(weights) {
  const int64_t inner = width * options.expansion;
  dwconv_ = register_module(
      "dwconv", std::make_shared<Conv2d>(weights.child("dwconv"), width, width,
                                         Conv2dOptions{.kernel = options.kernel, .groups = width}));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(weights.child("norm"), width));
  pwconv1_ = register_module("pwconv1", linear(weights.child("pwconv1"), width, inner, 1));
  pwconv2_ =
      register_module("pwconv2", linear(weights.child("pwconv2"), inner, width, options.residual));
}

Tensor ConvNext2d::forward(const Tensor& x) const {
  Tensor h = dwconv_->forward(x).permute({0, 2, 3, 1});  // [B, H, W, C]
  h = pwconv2_->forward(at::gelu(pwconv1_->forward(norm_->forward(h))));
  return tap(*this, x + h.permute({0, 3, 1, 2}));
}

ConvNext1dStack::ConvNext1dStack(const Weights& weights,
                                 int64_t blocks,
                                 int64_t width,
                                 ConvNextOptions options)
    : Module(weights) {
  options.residual /= std::sqrt(static_cast<double>(blocks));
  for (int64_t i = 0; i < blocks; ++i) {
    blocks_.push_back(register_module(
        std::to_string(i), std::make_shared<ConvNext1d>(weights.child(i), width, options)));
  }
}

Tensor ConvNext1dStack::forward(Tensor x, StreamState* state) const {
  for (const auto& block : blocks_) {
    x = block->forward(x, state);
  }
  return tap(*this, x);
}

ConvNext2dStack::ConvNext2dStack(const Weights& weights,
                                 int64_t blocks,
                                 int64_t width,
                                 ConvNextOptions options)
    : Module(weights) {
  options.residual /= std::sqrt(static_cast<double>(blocks));
  for (int64_t i = 0; i < blocks; ++i) {
    blocks_.push_back(register_module(
        std::to_string(i), std::make_shared<ConvNext2d>(weights.child(i), width, options)));
  }
}

Tensor ConvNext2dStack::forward(Tensor x) const {
  for (const auto& block : blocks_) {
    x = block->forward(x);
  }
  return tap(*this, x);
}

}  // namespace tessera::nn
