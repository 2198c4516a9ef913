// Small discriminators for codecs, trained by the hinge loss (arXiv 1705.02894), with feature
// matching (arXiv 1606.03498). Training only: none is part of a model folder.
#pragma once

#include "nn/conv.h"

#include <memory>
#include <vector>

namespace tessera::train {

using at::Tensor;

/// What a discriminator says: maps of logits (one a place, high = real), and the layers before.
struct Opinion {
  std::vector<Tensor> logits;
  std::vector<Tensor> features;
};

class Discriminator : public nn::Module {
 public:
  using Module::Module;
  virtual Opinion judge(const Tensor& media) const = 0;
};

/// Judges patches of pictures [B, 3, H, W] (PatchGAN, arXiv 1611.07004): `layers` strided
/// convolutions from `width` channels up.
class PatchDiscriminator : public Discriminator {
 public:
  explicit PatchDiscriminator(const nn::Weights& weights, int64_t width = 48, int64_t layers = 3);
  Opinion judge(const Tensor& media) const override;

 private:
  std::vector<std::shared_ptr<nn::Conv2d>> layers_;
  std::shared_ptr<nn::Conv2d> head_;
};

/// Judges complex spectra of sounds [B, 1, N] at several resolutions (arXiv 2106.07889,
/// 2210.13438).
class SpectrogramDiscriminator : public Discriminator {
 public:
  SpectrogramDiscriminator(const nn::Weights& weights,
                           std::vector<int64_t> transforms = {512, 1024, 2048},
                           int64_t width = 24);
  Opinion judge(const Tensor& media) const override;

 private:
  struct Scale {
    int64_t n_fft;
    Tensor window;
    std::vector<std::shared_ptr<nn::Conv2d>> layers;
    std::shared_ptr<nn::Conv2d> head;
  };
  std::vector<Scale> scales_;
};

/// mean(max(0, 1 − real)) + mean(max(0, 1 + fake)), mean over maps.
Tensor discriminator_loss(const Opinion& real, const Opinion& fake);
/// −mean(fake), mean over maps.
Tensor generator_loss(const Opinion& fake);
/// Mean absolute difference of features over the mean size of the real ones, mean over layers; the
/// real ones are constants.
Tensor feature_matching_loss(const Opinion& real, const Opinion& fake);

}  // namespace tessera::train
