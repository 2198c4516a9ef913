// All picture distances are of x − y, since pyramid and differences are linear.
#include "train/losses.h"

#include "core/error.h"
#include "ops/device.h"
#include "ops/mel.h"
#include "ops/stft.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace tessera::train {
namespace {

constexpr int kPyramidScales = 3;
constexpr double kPowerFloor = 1e-7;

nn::LinearOptions fan_in(int64_t in) {
  return {true, nn::Init::normal(1.0 / std::sqrt(static_cast<double>(in)))};
}

}  // namespace

PictureLoss picture_loss(const Tensor& picture, const Tensor& truth, const Tensor& weight) {
  Tensor difference = picture.to(at::kFloat) - truth;
  if (weight.defined()) {
    difference = difference * weight;
  }
  PictureLoss loss;
  loss.l1 = difference.abs().mean();
  const int64_t height = difference.size(2);
  const int64_t width = difference.size(3);
  loss.edge =
      (difference.narrow(2, 1, height - 1) - difference.narrow(2, 0, height - 1)).abs().mean() +
      (difference.narrow(3, 1, width - 1) - difference.narrow(3, 0, width - 1)).abs().mean();
  for (int scale = 0;
       scale < kPyramidScales && difference.size(2) % 2 == 0 && difference.size(3) % 2 == 0;
       ++scale) {
    const Tensor half = at::avg_pool2d(difference, {2, 2});
    const Tensor smooth = at::upsample_nearest2d(half, {difference.size(2), difference.size(3)});
    const Tensor band = (difference - smooth).abs().mean();
    loss.laplacian = loss.laplacian.defined() ? loss.laplacian + band : band;
    difference = half;
  }
  const Tensor rest = difference.abs().mean();
  loss.laplacian = loss.laplacian.defined() ? loss.laplacian + rest : rest;
  return loss;
}

std::vector<SpectralLoss::Resolution> SpectralLoss::default_resolutions() {
  return {{256, 64, 40}, {512, 128, 64}, {1024, 256, 80}, {2048, 512, 128}};
}

SpectralLoss::SpectralLoss(int64_t sample_rate,
                           std::vector<Resolution> resolutions,
                           at::Device device) {
  for (const Resolution& r : resolutions) {
    scales_.push_back(
        {r, ops::hann_window(r.n_fft, r.n_fft, device),
         ops::mel_filters({.sample_rate = sample_rate, .n_fft = r.n_fft, .bands = r.bands},
                          device)});
  }
}

SoundLoss SpectralLoss::operator()(const Tensor& sound, const Tensor& truth) const {
  SoundLoss loss;
  int64_t used = 0;
  for (const Scale& scale : scales_) {
    const ops::StftOptions options{.n_fft = scale.resolution.n_fft, .hop = scale.resolution.hop};
    if (truth.size(-1) <= options.n_fft / 2) {
      continue;
    }
    const auto power = [&](const Tensor& x) {
      return ops::power(ops::stft(x.squeeze(1), scale.window, options));
    };
    const Tensor x = power(truth);
    const Tensor y = power(sound);
    const Tensor x_magnitude = x.clamp_min(kPowerFloor).sqrt();
    const Tensor y_magnitude = y.clamp_min(kPowerFloor).sqrt();
    const Tensor gap = (y_magnitude - x_magnitude).square().sum({1, 2}).clamp_min(1e-12).sqrt();
    const Tensor convergence =
        (gap / x_magnitude.square().sum({1, 2}).clamp_min(1e-3).sqrt()).mean();
    const Tensor magnitude =
        (y_magnitude.clamp_min(1e-3).log() - x_magnitude.clamp_min(1e-3).log()).abs().mean();
    const Tensor mel = (ops::log_floor(ops::apply_filters(y, scale.filters), 1e-5) -
                        ops::log_floor(ops::apply_filters(x, scale.filters), 1e-5))
                           .abs()
                           .mean();
    loss.convergence = used == 0 ? convergence : loss.convergence + convergence;
    loss.magnitude = used == 0 ? magnitude : loss.magnitude + magnitude;
    loss.mel = used == 0 ? mel : loss.mel + mel;
    ++used;
  }
  TESSERA_CHECK(used > 0, InvalidArgument, "spectral loss: {} samples are too few", truth.size(-1));
  const auto count = static_cast<double>(used);
  return {loss.convergence / count, loss.magnitude / count, loss.mel / count};
}

namespace {

using CtcFunction =
    void (*)(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Tensor&, Tensor&);

// libtorch's own waits for the lengths; this one does not, so that a step can be captured.
class DeviceCtc : public torch::autograd::Function<DeviceCtc> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context,
                        const Tensor& log_probs,
                        const Tensor& targets,
                        const Tensor& frames,
                        const Tensor& lengths,
                        CtcFunction function) {
    Tensor loss, gradient;
    function(log_probs.contiguous(), targets.contiguous(), frames.contiguous(),
             lengths.contiguous(), loss, gradient);
    context->save_for_backward({gradient});
    return loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outer) {
    const Tensor gradient = context->get_saved_variables()[0];
    return {gradient * outer[0].view({-1, 1, 1}), {}, {}, {}, {}};
  }
};

}  // namespace

Tensor transcription_loss(const Tensor& log_probs,
                          const Tensor& targets,
                          const Tensor& frames,
                          const Tensor& lengths) {
  Tensor each;
  const auto own = log_probs.is_cuda()
                       ? reinterpret_cast<CtcFunction>(ops::cuda_function("tessera_ctc_loss"))
                       : nullptr;
  if (own != nullptr) {
    each = DeviceCtc::apply(log_probs.to(at::kFloat), targets, frames, lengths, own);
  } else {
    each = at::ctc_loss(log_probs.to(at::kFloat).transpose(0, 1), targets, frames, lengths, 0,
                        at::Reduction::None, /*zero_infinity=*/true);
  }
  return (each / lengths.clamp_min(1).to(each.options())).mean();
}

CharacterHead::CharacterHead(const nn::Weights& weights,
                             int64_t width,
                             int64_t classes,
                             int64_t per_frame)
    : Module(weights), classes_(classes), per_frame_(per_frame) {
  hidden_ = register_module(
      "hidden", std::make_shared<nn::Linear>(weights.child("hidden"), width, width, fan_in(width)));
  head_ = register_module("head", std::make_shared<nn::Linear>(weights.child("head"), width,
                                                               classes * per_frame, fan_in(width)));
}

Tensor CharacterHead::forward(const Tensor& x) const {
  const Tensor h = head_->forward(at::gelu(hidden_->forward(x))).to(at::kFloat);
  return nn::tap(*this, h.reshape({h.size(0), h.size(1) * per_frame_, classes_}).log_softmax(-1));
}

KindHead::KindHead(const nn::Weights& weights, int64_t width, int64_t kinds) : Module(weights) {
  hidden_ = register_module("hidden", std::make_shared<nn::Conv2d>(weights.child("hidden"), width,
                                                                   width, nn::Conv2dOptions{3}));
  head_ = register_module("head", std::make_shared<nn::Conv2d>(weights.child("head"), width,
                                                               4 * kinds, nn::Conv2dOptions{3}));
}

Tensor KindHead::forward(const Tensor& x) const {
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(x.size(1)))));
  const Tensor grid = x.transpose(1, 2).unflatten(2, {side, side});
  const Tensor scores = head_->forward(at::gelu(hidden_->forward(grid))).to(at::kFloat);
  return nn::tap(*this, at::pixel_shuffle(scores, 2));
}

}  // namespace tessera::train
