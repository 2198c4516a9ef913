// No normalisation layers: at small batches they leak between real and fake. Spectra are compressed
// by a power law, X · |X|^-0.7, so that quiet parts count.
#include "train/discriminators.h"

#include "core/error.h"
#include "ops/stft.h"

#include <ATen/ATen.h>

namespace tessera::train {
namespace {

constexpr double kSlope = 0.2;  // of leaky ReLU
constexpr int64_t kMostChannels = 256;

Opinion run(const std::vector<std::shared_ptr<nn::Conv2d>>& layers,
            const nn::Conv2d& head,
            Tensor h) {
  Opinion opinion;
  for (const auto& layer : layers) {
    h = at::leaky_relu(layer->forward(h), kSlope);
    opinion.features.push_back(h);
  }
  opinion.logits.push_back(head.forward(h).to(at::kFloat));
  return opinion;
}

}  // namespace

PatchDiscriminator::PatchDiscriminator(const nn::Weights& weights, int64_t width, int64_t layers)
    : Discriminator(weights) {
  const auto list = register_module("layers", std::make_shared<torch::nn::Module>("layers"));
  int64_t channels = 3;
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t out = std::min(width << i, kMostChannels);
    layers_.push_back(list->register_module(
        std::to_string(i),
        std::make_shared<nn::Conv2d>(weights.child("layers").child(i), channels, out,
                                     nn::Conv2dOptions{.kernel = 4, .stride = 2, .padding = 1})));
    channels = out;
  }
  head_ = register_module("head", std::make_shared<nn::Conv2d>(weights.child("head"), channels, 1,
                                                               nn::Conv2dOptions{3}));
}

Opinion PatchDiscriminator::judge(const Tensor& media) const {
  return run(layers_, *head_, media * 2 - 1);
}

SpectrogramDiscriminator::SpectrogramDiscriminator(const nn::Weights& weights,
                                                   std::vector<int64_t> transforms,
                                                   int64_t width)
    : Discriminator(weights) {
  const auto scales = register_module("scales", std::make_shared<torch::nn::Module>("scales"));
  for (size_t i = 0; i < transforms.size(); ++i) {
    const nn::Weights w = weights.child("scales").child(static_cast<int64_t>(i));
    const auto holder =
        scales->register_module(std::to_string(i), std::make_shared<torch::nn::Module>("scale"));
    const auto list =
        holder->register_module("layers", std::make_shared<torch::nn::Module>("layers"));
    Scale scale{.n_fft = transforms[i],
                .window = ops::hann_window(transforms[i], transforms[i], w.options().device),
                .layers = {},
                .head = nullptr};
    int64_t channels = 2;
    for (int64_t layer = 0; layer < 4; ++layer) {
      const int64_t out = std::min(width << std::min<int64_t>(layer, 2), kMostChannels);
      scale.layers.push_back(list->register_module(
          std::to_string(layer),
          std::make_shared<nn::Conv2d>(
              w.child("layers").child(layer), channels, out,
              nn::Conv2dOptions{.kernel = layer == 0 ? 3 : 5, .stride = layer == 0 ? 1 : 2})));
      channels = out;
    }
    scale.head = holder->register_module(
        "head", std::make_shared<nn::Conv2d>(w.child("head"), channels, 1, nn::Conv2dOptions{3}));
    scales_.push_back(std::move(scale));
  }
}

Opinion SpectrogramDiscriminator::judge(const Tensor& media) const {
  Opinion opinion;
  for (const Scale& scale : scales_) {
    const Tensor spectrum =
        ops::stft(media.squeeze(1), scale.window, {.n_fft = scale.n_fft, .hop = scale.n_fft / 4});
    const Tensor gain = (ops::power(spectrum) + 1e-5).pow(-0.35).unsqueeze(-1);
    const Tensor image = (at::view_as_real(spectrum) * gain).permute({0, 3, 1, 2});  // [B, 2, T, F]
    Opinion part = run(scale.layers, *scale.head, image);
    opinion.logits.insert(opinion.logits.end(), part.logits.begin(), part.logits.end());
    opinion.features.insert(opinion.features.end(), part.features.begin(), part.features.end());
  }
  return opinion;
}

Tensor discriminator_loss(const Opinion& real, const Opinion& fake) {
  Tensor sum;
  for (size_t i = 0; i < real.logits.size(); ++i) {
    const Tensor loss =
        (1 - real.logits[i]).clamp_min(0).mean() + (1 + fake.logits[i]).clamp_min(0).mean();
    sum = i == 0 ? loss : sum + loss;
  }
  return sum / static_cast<double>(real.logits.size());
}

Tensor generator_loss(const Opinion& fake) {
  Tensor sum;
  for (size_t i = 0; i < fake.logits.size(); ++i) {
    const Tensor loss = -fake.logits[i].mean();
    sum = i == 0 ? loss : sum + loss;
  }
  return sum / static_cast<double>(fake.logits.size());
}

Tensor feature_matching_loss(const Opinion& real, const Opinion& fake) {
  Tensor sum;
  for (size_t i = 0; i < real.features.size(); ++i) {
    const Tensor truth = real.features[i].detach().to(at::kFloat);
    const Tensor loss =
        (fake.features[i].to(at::kFloat) - truth).abs().mean() / truth.abs().mean().clamp_min(1e-5);
    sum = i == 0 ? loss : sum + loss;
  }
  return sum / static_cast<double>(real.features.size());
}

}  // namespace tessera::train
