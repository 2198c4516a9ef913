// Each codec learns a few synthetic examples: the reconstruction gets far better than at the start.
#include "train/losses.h"
#include "unit/models/bundled.h"
#include "unit/train/helpers.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::train {
namespace {

// Adam without decay over all parameters.
class Adam {
 public:
  Adam(const torch::nn::Module& module, double lr) : lr_(lr) {
    for (const Tensor& parameter : module.parameters()) {
      parameter.requires_grad_(true);
      parameters_.push_back(parameter);
      first_.push_back(at::zeros_like(parameter));
      second_.push_back(at::zeros_like(parameter));
    }
  }
  void step(const Tensor& loss) {
    for (const Tensor& parameter : parameters_) {
      parameter.mutable_grad() = Tensor();
    }
    loss.backward();
    const at::NoGradGuard no_grad;
    ++count_;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor& gradient = parameters_[i].grad();
      if (!gradient.defined()) {
        continue;
      }
      first_[i].mul_(0.9).add_(gradient, 0.1);
      second_[i].mul_(0.95).addcmul_(gradient, gradient, 0.05);
      const Tensor mean = first_[i] / (1 - std::pow(0.9, count_));
      const Tensor size = (second_[i] / (1 - std::pow(0.95, count_))).sqrt() + 1e-8;
      parameters_[i].sub_(lr_ * mean / size);
    }
  }

 private:
  double lr_;
  int count_ = 0;
  std::vector<Tensor> parameters_, first_, second_;
};

// Runs `steps` and gives the first and the last loss, without the commitment.
template <class Loss>
std::pair<double, double> learn(nn::Codec& codec, const Tensor& media, int steps, Loss loss_of) {
  Adam adam(codec, 3e-3);
  const auto vectors = std::dynamic_pointer_cast<nn::ResidualVectorQuantizer>(codec.quantizer());
  std::optional<nn::CodebookAverages> averages;
  if (vectors != nullptr) {
    averages.emplace(vectors, 0.9);
  }
  double first = 0;
  double last = 0;
  for (int i = 0; i < steps; ++i) {
    const nn::CodecPass pass = codec.reconstruct(media);
    const Tensor loss = loss_of(pass.media);
    last = loss.template item<double>();
    first = i == 0 ? last : first;
    adam.step(loss + 0.25 * pass.code.commitment);
    if (averages.has_value()) {
      averages->update(pass.code);
      if (i % 20 == 0) {
        averages->restart();
      }
    }
  }
  return {first, last};
}

// Discs of several colours and places.
Tensor pictures() {
  const Tensor axis = at::arange(24, at::kFloat);
  const Tensor y = axis.view({24, 1});
  const Tensor x = axis.view({1, 24});
  std::vector<Tensor> list;
  for (int i = 0; i < 6; ++i) {
    const double cx = 6 + 2.5 * i;
    const double cy = 17 - 2.0 * i;
    const Tensor inside = ((x - cx).square() + (y - cy).square() < 25).to(at::kFloat);
    const Tensor color = at::tensor({0.2 * (i % 5), 1.0 - 0.15 * i, (i % 2) * 0.8}).view({3, 1, 1});
    list.push_back(inside * color + (1 - inside) * (0.9 - 0.1 * i));
  }
  return at::stack(list).to(at::kFloat);
}

TEST(CodecTraining, PicturesByVectorsAndByScalars) {
  prepare_test();
  for (const char* kind : {"vq", "fsq"}) {
    at::manual_seed(1);
    io::Json config = tiny_picture_config();
    if (std::string(kind) == "fsq") {
      config["quantizer"] = {{"kind", "fsq"}, {"steps", {4, 4, 4}}};
    }
    const auto codec = bundled_codec("TesseraPictureCodec", config);
    const Tensor truth = pictures();
    const auto [first, last] = learn(*codec, truth, 250, [&](const Tensor& media) {
      const PictureLoss loss = picture_loss(media, truth);
      return loss.l1 + loss.laplacian + 0.1 * loss.edge;
    });
    EXPECT_LT(last, 0.2 * first) << kind;
    const at::NoGradGuard no_grad;
    const Tensor decoded = codec->decode(codec->encode(truth));
    EXPECT_LT((decoded - truth).abs().mean().item<double>(), 0.06) << kind;
  }
}

TEST(CodecTraining, Sounds) {
  prepare_test();
  at::manual_seed(1);
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const Tensor time = at::arange(2048, at::kFloat) / 8000;
  std::vector<Tensor> list;
  for (const double hz : {220.0, 330.0, 500.0, 880.0}) {
    const Tensor tone = (time * (2 * M_PI * hz)).sin() * (time * 12).cos();
    list.push_back(0.4 * tone.unsqueeze(0));
  }
  const Tensor truth = at::stack(list);
  const SpectralLoss spectral(8000, {{128, 32, 16}, {256, 64, 32}}, at::kCPU);
  const auto [first, last] = learn(*codec, truth, 250, [&](const Tensor& media) {
    const SoundLoss loss = spectral(media, truth);
    return loss.convergence + loss.magnitude + loss.mel;
  });
  EXPECT_LT(last, 0.4 * first);
}

}  // namespace
}  // namespace tessera::train
