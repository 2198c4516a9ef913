#include "train/losses.h"

#include "train/discriminators.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::train {
namespace {

TEST(PictureLoss, IsZeroForEqualAndKnowsShifts) {
  const Tensor x = at::rand({2, 3, 24, 24});
  const PictureLoss same = picture_loss(x, x);
  EXPECT_EQ((same.l1 + same.laplacian + same.edge).item<double>(), 0.0);
  // A constant shift is no edge and lies in the lowest band alone.
  const PictureLoss shifted = picture_loss(x + 0.25, x);
  EXPECT_NEAR(shifted.l1.item<double>(), 0.25, 1e-6);
  EXPECT_NEAR(shifted.laplacian.item<double>(), 0.25, 1e-6);
  EXPECT_NEAR(shifted.edge.item<double>(), 0.0, 1e-6);
  // Sizes that do not halve have fewer bands.
  EXPECT_TRUE(picture_loss(at::rand({1, 3, 9, 7}), at::rand({1, 3, 9, 7})).laplacian.defined());
}

TEST(SpectralLoss, IsZeroForEqualAndGrowsWithNoise) {
  const SpectralLoss loss(16000, SpectralLoss::default_resolutions(), at::kCPU);
  const Tensor x = at::randn({2, 1, 8000}) * 0.1;
  const SoundLoss same = loss(x, x);
  EXPECT_LT((same.convergence + same.magnitude + same.mel).item<double>(), 1e-5);
  const SoundLoss near = loss(x + 0.01 * at::randn_like(x), x);
  const SoundLoss far = loss(x + 0.1 * at::randn_like(x), x);
  EXPECT_LT(near.mel.item<double>(), far.mel.item<double>());
  EXPECT_LT(near.magnitude.item<double>(), far.magnitude.item<double>());
  EXPECT_LT(near.convergence.item<double>(), far.convergence.item<double>());
  EXPECT_NO_THROW(loss(at::randn({1, 1, 600}), at::randn({1, 1, 600})));  // long windows left out
  EXPECT_ANY_THROW(loss(at::randn({1, 1, 100}), at::randn({1, 1, 100})));
}

TEST(SpectralLoss, GradientsAreFiniteForSilence) {
  const SpectralLoss loss(16000, SpectralLoss::default_resolutions(), at::kCPU);
  Tensor x = at::zeros({1, 1, 4000}).requires_grad_();
  const SoundLoss value = loss(x, at::zeros({1, 1, 4000}));
  (value.convergence + value.magnitude + value.mel).backward();
  EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
}

TEST(CtcLoss, EqualsTheSumOverPaths) {
  // Two frames, one symbol "1" of two classes: paths 11, 10, 01.
  const Tensor p = at::tensor({0.6, 0.4, 0.3, 0.7}, at::kFloat).view({1, 2, 2});
  const Tensor one = at::ones({1, 1}, at::kLong);
  const Tensor loss =
      transcription_loss(p.log(), one, at::full({1}, 2, at::kLong), at::ones({1}, at::kLong));
  EXPECT_NEAR(loss.item<double>(), -std::log(0.4 * 0.7 + 0.4 * 0.3 + 0.6 * 0.7), 1e-5);
  // Longer than its frames: nothing to learn, and no infinity.
  const Tensor lost = transcription_loss(p.log(), at::ones({1, 5}, at::kLong),
                                         at::full({1}, 2, at::kLong), at::full({1}, 5, at::kLong));
  EXPECT_EQ(lost.item<double>(), 0.0);
}

TEST(CharacterHead, GivesDistributions) {
  const CharacterHead head(nn::Weights::from_scratch(1), 12, 5, 3);
  const Tensor out = head.forward(at::randn({2, 7, 12}));
  EXPECT_EQ(out.sizes(), (std::vector<int64_t>{2, 21, 5}));
  EXPECT_TRUE(at::allclose(out.exp().sum(-1), at::ones({2, 21}), 1e-5, 1e-5));
}

void expect_losses_fit(const Discriminator& discriminator, const Tensor& real, const Tensor& fake) {
  for (const Tensor& parameter : discriminator.parameters()) {
    parameter.requires_grad_(true);
  }
  const Opinion on_real = discriminator.judge(real);
  const Opinion on_fake = discriminator.judge(fake);
  const Tensor margin = discriminator_loss(on_real, on_fake);
  EXPECT_GT(margin.item<double>(), 0.0);
  EXPECT_EQ(feature_matching_loss(on_real, discriminator.judge(real)).item<double>(), 0.0);
  margin.backward();
  for (const auto& item : discriminator.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
  // The generator's losses reach the media.
  Tensor media = fake.clone().requires_grad_();
  const Opinion opinion = discriminator.judge(media);
  (generator_loss(opinion) + feature_matching_loss(on_real, opinion)).backward();
  EXPECT_TRUE(media.grad().isfinite().all().item<bool>());
  EXPECT_GT(media.grad().abs().sum().item<double>(), 0.0);
}

TEST(Discriminators, Pictures) {
  expect_losses_fit(PatchDiscriminator(nn::Weights::from_scratch(1), 8), at::rand({2, 3, 96, 96}),
                    at::rand({2, 3, 96, 96}));
}

TEST(Discriminators, SoundsAndSilence) {
  const SpectrogramDiscriminator discriminator(nn::Weights::from_scratch(1), {128, 512}, 4);
  expect_losses_fit(discriminator, at::randn({2, 1, 3001}) * 0.1, at::zeros({2, 1, 3001}));
}

}  // namespace
}  // namespace tessera::train
